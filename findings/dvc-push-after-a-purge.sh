#!/usr/bin/env bash
# DVC 3.67.1: after files were deleted from a remote, `dvc push` and `dvc status --cloud` say that nothing is missing.
#
# What is documented (dvc.org/doc/command-reference/push): dvc push finds files that are in the cache and not in the
# remote, and uploads them; dvc status --cloud compares the two.
# What happens: of a tracked folder DVC looks for the folder's own object (its list, ….dir) only, and takes the list for
# a proof that each file on it is there. A push from another clone, or one that names the file, does not help.
# A pull then fails, for everybody who has no copy.
#
# Run it:  bash findings/dvc-push-after-a-purge.sh
# It installs the version below into a temporary environment, and needs Python 3.11 or newer, and git.
# Seen:
#   after dvc push: one.txt is in the remote
#   deleted from the remote: one.txt
#   dvc push: exit code 0, Everything is up to date.
#   dvc push data/one.txt: exit code 0, Everything is up to date.
#   dvc status --cloud: exit code 0, Cache and remote 'lab' are in sync.
#   another clone, which has the file: dvc push: exit code 0, Everything is up to date.
#   after them: one.txt is not in the remote
#   another clone, which has not: dvc pull: exit code 1
# Exit code 0: the behaviour is as stated. 1: it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'chmod -R u+w "$folder"; rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check dvc==3.67.1
export PATH="$folder/venv/bin:$PATH" DVC_NO_ANALYTICS=1
export GIT_CONFIG_GLOBAL=/dev/null
echo "dvc $(dvc --version)"

on() { # a machine of its own: DVC keeps an index of remotes outside the repository
    export DVC_SITE_CACHE_DIR="$folder/site-$1"
    cd "$folder/$1"
}

said=""
attempt() {
    local code=0
    said=$("$@" 2>/dev/null < /dev/null) || code=$?
    said=$(tail -n 1 <<< "$said")
    echo "$*: exit code $code${said:+, $said}"
    return "$code"
}

mkdir "$folder/here" "$folder/lab"
on here
git init --quiet
dvc init --quiet
dvc remote add --quiet --default lab "$folder/lab"
mkdir data
echo one > data/one.txt
echo two > data/two.txt
dvc add --quiet data
dvc push --quiet
git add --all
git -c user.name=a -c user.email=a@b.c commit --quiet --message data
md5=$(python -c 'import hashlib; print(hashlib.md5(open("data/one.txt", "rb").read()).hexdigest())')
object="$folder/lab/files/md5/${md5:0:2}/${md5:2}"
where() { if [ -e "$object" ]; then echo "$1: one.txt is in the remote"; else echo "$1: one.txt is not in the remote"; fi; }
where "after dvc push"
git clone --quiet "$folder/here" "$folder/there"
on there
dvc pull --quiet
rm -f "$object"
echo "deleted from the remote: one.txt"

code=0
on here
attempt dvc push || code=1
attempt dvc push data/one.txt || code=1
attempt dvc status --cloud || code=1
on there
echo -n "another clone, which has the file: "
attempt dvc push || code=1
where "after them"
git clone --quiet "$folder/here" "$folder/last"
on last
echo -n "another clone, which has not: "
if attempt dvc pull; then code=1; fi

if [ "$code" = 0 ] && [ ! -e "$object" ]; then
    echo "As stated: DVC says that nothing is missing, and uploads nothing."
    exit 0
fi
echo "CHANGED: expected every push and the status to end with 0 and the object to stay away, and the pull to fail."
exit 1
