#!/bin/sh
# Makes the Python packages fetchml and fetchml-server in FOLDER, each as a wheel and a source
# distribution: `build/packages.sh FOLDER`. PYTHON=… another interpreter, with hatchling.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$(realpath --canonicalize-missing "$1")
python=$(realpath --no-symlinks "${PYTHON:-$root/.venv/bin/python}")

# A package without it installs nevertheless: that is how an installation from git works.
if [ ! -e "$root/fetchml/api/ui/files/index.html" ]; then
    echo "packages: the page is missing: run make web" >&2
    exit 1
fi
for project in "$root" "$root/build/server"; do
    cd "$project"
    "$python" -m hatchling build --directory "$folder"
done
