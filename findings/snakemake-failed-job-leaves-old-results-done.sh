#!/usr/bin/env bash
# Snakemake 9.27.1: after a job has failed, results of the settings before it count as done.
#
# What one would expect: a rule's parameter is edited, its job fails once, and the next run makes it and all that follows.
# What happens: the failed job's outputs are deleted, with Snakemake's notes on them. The next run asks only for what the
# target lacks: the target is there, its own rule has not changed, and a deleted intermediate file is no reason to run.
# So it says "Nothing to be done", exit code 0, over a result that was made with the parameter before.
#
# Run it:  bash findings/snakemake-failed-job-leaves-old-results-done.sh
# It installs the version below into a temporary environment, and needs Python 3.11 or newer.
# Seen:
#   epochs 1: exit code 0, result: trained for 1
#   epochs 2, the training fails: exit code 1, model there: no
#   epochs 2, again: exit code 0, Nothing to be done, result: trained for 1
# Exit code 0: the behaviour is as stated. 1: the behaviour has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check snakemake==9.27.1
cd "$folder"

cat > Snakefile <<'RULES'
rule evaluate:
    input: "model.txt"
    output: "result.txt"
    shell: "cp {input} {output}"

rule train:
    output: "model.txt"
    params: epochs=config["epochs"]
    shell: "echo trained for {params.epochs} > {output}; test ! -e fails"
RULES

run() {
    code=0
    "$folder/venv/bin/snakemake" result.txt --cores 1 --config "epochs=$1" > log 2>&1 || code=$?
}

run 1
first="exit code $code, result: $(cat result.txt)"
touch fails
run 2
there=no
[ ! -e model.txt ] || there=yes
second="exit code $code, model there: $there"
rm fails
run 2
third="exit code $code, $(grep -o 'Nothing to be done' log || echo 'something was done'), result: $(cat result.txt)"
echo "epochs 1: $first"
echo "epochs 2, the training fails: $second"
echo "epochs 2, again: $third"
[ "$first" = "exit code 0, result: trained for 1" ]
[ "$second" = "exit code 1, model there: no" ]
[ "$third" = "exit code 0, Nothing to be done, result: trained for 1" ]
