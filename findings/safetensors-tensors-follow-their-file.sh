#!/usr/bin/env bash
# safetensors 0.8.0 with torch 2.15.0: tensors of `load_file` are views of the file. Other bytes written into the file change
# them: a network that was loaded minutes ago gets the weights that are copied over its file.
#
# What is documented (huggingface.co/docs/safetensors, torch API): load_file "loads a safetensors file into torch format" and
# returns a dictionary of tensors; torch.load, which it stands in for, returns tensors of their own memory.
# What happens: the file is mapped privately, and pages that nobody has written to show the file as it is now. `cp` of a new
# file over the old one (it keeps the inode) changes all tensors that were loaded from it and not written to since. A file
# that is replaced by a rename, as save_file to a new name and `mv` do, changes none.
#
# Run it:  bash findings/safetensors-tensors-follow-their-file.sh
# It installs the versions below into a temporary environment (some GB), and needs Python 3.11 or newer.
# Seen:
#   loaded: 1.0 1.0
#   after cp over the file: 2.0 2.0
#   a clone made before it: 1.0 1.0
#   after mv over the file: 2.0 2.0
# Exit code 0: the behaviour is as stated. 1: it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check safetensors==0.8.0 torch==2.15.0 numpy
cd "$folder"

"$folder/venv/bin/python" - <<'PYTHON' | tee seen
import shutil

import torch
from safetensors.torch import load_file, save_file

for number in (1.0, 2.0, 3.0):
    save_file({"weight": torch.full((2,), number)}, f"{number:.0f}.safetensors")
shutil.copyfile("1.safetensors", "network.safetensors")


def said(when, tensor):
    print(f"{when}: {' '.join(map(str, tensor.tolist()))}")


weight = load_file("network.safetensors")["weight"]
mine = weight.clone()
said("loaded", weight)
shutil.copyfile("2.safetensors", "network.safetensors")  # as cp does: the same file, other bytes
said("after cp over the file", weight)
said("a clone made before it", mine)
shutil.move("3.safetensors", "network.safetensors")  # another file under the name
said("after mv over the file", weight)
PYTHON

diff seen - <<'EXPECTED' && echo "as stated"
loaded: 1.0 1.0
after cp over the file: 2.0 2.0
a clone made before it: 1.0 1.0
after mv over the file: 2.0 2.0
EXPECTED
