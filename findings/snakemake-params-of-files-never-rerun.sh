#!/usr/bin/env bash
# Snakemake 9.27.1: a changed parameter does not rerun a job if its function takes `output` (or `input`), too.
#
# What one would expect: "params" is a rerun trigger. A function under params that returns another value reruns the job.
# What happens: that holds for functions of wildcards alone. As soon as the function has an argument `output` or `input`,
# even an unused one, its value is not among the values that are compared: the job keeps its old result.
#
# Run it:  bash findings/snakemake-params-of-files-never-rerun.sh
# It installs the version below into a temporary environment, and needs Python 3.11 or newer.
# Seen:
#   lambda wildcards: made with 1, then asked for 2: would run again
#   lambda wildcards, output: made with 1, then asked for 2: Nothing to be done
# Exit code 0: the behaviour is as stated. 1: the behaviour has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check snakemake==9.27.1
cd "$folder"

cat > Snakefile <<'RULES'
EPOCHS = config["epochs"]

rule plain:
    output: "plain.txt"
    params: epochs=lambda wildcards: EPOCHS
    shell: "echo trained for {params.epochs} > {output}"

rule with_output:
    output: "with_output.txt"
    params: epochs=lambda wildcards, output: EPOCHS
    shell: "echo trained for {params.epochs} > {output}"
RULES

snakemake() {
    "$folder/venv/bin/snakemake" --cores 1 "$@" > log 2>&1
}

asked_again() {
    snakemake --dry-run "$1.txt" --config epochs=2
    grep -o 'Nothing to be done' log || echo 'would run again'
}

snakemake plain.txt with_output.txt --config epochs=1
plain=$(asked_again plain)
with_output=$(asked_again with_output)
echo "lambda wildcards: made with 1, then asked for 2: $plain"
echo "lambda wildcards, output: made with 1, then asked for 2: $with_output"
[ "$(cat plain.txt) $(cat with_output.txt)" = "trained for 1 trained for 1" ]
[ "$plain" = "would run again" ]
[ "$with_output" = "Nothing to be done" ]
