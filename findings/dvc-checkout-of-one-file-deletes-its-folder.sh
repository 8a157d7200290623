#!/usr/bin/env bash
# DVC 3.67.1: `dvc checkout FOLDER/FILE`, without --force, deletes FOLDER with files that DVC has never seen.
#
# What is documented (dvc.org/doc/command-reference/checkout): files within a tracked folder may be named one by one;
# without --force, DVC asks before it removes files that are not in its cache.
# What happens where the cache has not got the named file's content: the checkout fails, and the whole folder is removed,
# a new file in it as well, of which there is no other copy. Without a name DVC refuses, as documented.
#
# Run it:  bash findings/dvc-checkout-of-one-file-deletes-its-folder.sh
# It installs the version below into a temporary environment, and needs Python 3.11 or newer, and git.
# Seen:
#   before: data/one.txt data/new.txt
#   dvc checkout: exit code 255, Can't remove the following unsaved files without confirmation
#   after it: data/one.txt data/new.txt
#   dvc checkout data/two.txt: exit code 255, Checkout failed for following targets:
#   after it: nothing
# Exit code 0: the behaviour is as stated. 1: it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'chmod -R u+w "$folder"; rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check dvc==3.67.1
export PATH="$folder/venv/bin:$PATH" DVC_NO_ANALYTICS=1 DVC_SITE_CACHE_DIR="$folder/site"
export GIT_CONFIG_GLOBAL=/dev/null
echo "dvc $(dvc --version)"

mkdir "$folder/project"
cd "$folder/project"
git init --quiet
dvc init --quiet
mkdir data
echo one > data/one.txt
echo two > data/two.txt
dvc add --quiet data

# A clone or a colleague's cache that has not got all: here the list of the folder and one.txt only.
rm data/two.txt
md5=$(printf 'two\n' | "$folder/venv/bin/python" -c 'import hashlib, sys; print(hashlib.md5(sys.stdin.buffer.read()).hexdigest())')
rm -f ".dvc/cache/files/md5/${md5:0:2}/${md5:2}"
echo "new, and nowhere else" > data/new.txt

present() {
    local found="" name
    for name in one two new; do
        if [ -e "data/$name.txt" ]; then found="$found data/$name.txt"; fi
    done
    echo "$1:${found:- nothing}"
}

attempt() {
    local code=0
    "$@" > said.txt 2>&1 < /dev/null || code=$?
    echo "$*: exit code $code, $(grep -m1 'ERROR' said.txt | sed -e 's/^ERROR: //' -e 's/ Use .--force.*//' -e 's/\.$//')"
}

present "before"
attempt dvc checkout
present "after it"
kept=$([ -e data/new.txt ] && echo yes || echo no)
attempt dvc checkout data/two.txt
present "after it"

if [ "$kept" = yes ] && [ ! -e data ]; then
    echo "As stated: naming one file deletes its folder, with files that DVC does not know."
    exit 0
fi
echo "CHANGED: expected the first checkout to keep the new file and the second to delete the folder."
exit 1
