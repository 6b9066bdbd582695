#!/bin/sh
# Makes build/dist/fetchml, the whole program in one file, for machines like this one.
# PYTHON=… another interpreter, with PyInstaller and all that FetchML needs in it.
# SOURCE_DATE_EPOCH and COMMIT are taken from git unless they are set.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}

# Debian keeps the interpreter's shared library, which the program holds, in a package of its own.
library=$("$python" -c '
import os, sys, sysconfig as s
name = s.get_config_var("INSTSONAME") or ""
folders = [s.get_config_var("LIBDIR") or "", os.path.join(s.get_config_var("LIBDIR") or "", s.get_config_var("MULTIARCH") or "")]
if ".so" in name and not any(os.path.exists(os.path.join(folder, name)) for folder in folders):
    print("libpython%d.%d" % sys.version_info[:2])')
missing=$library
command -v objcopy >/dev/null && command -v strip >/dev/null || missing="binutils $missing"
if [ -n "$missing" ]; then
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "build: something is missing. As root: apt-get install $missing" >&2
        exit 1
    fi
    apt-get update -qq
    # shellcheck disable=SC2086  # one word a package
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

if [ -z "${COMMIT:-}" ]; then
    COMMIT=$(git rev-parse --short=12 HEAD)
    [ -z "$(git status --porcelain --untracked-files=no)" ] || COMMIT=$COMMIT-changed
fi
# Equal sources give equal bytes: no time of day in it, no order that changes.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
PYTHONHASHSEED=1
export SOURCE_DATE_EPOCH PYTHONHASHSEED

if [ ! -e fetchml/api/ui/files/index.html ]; then
    echo "build: the page is missing: run make web" >&2
    exit 1
fi
mkdir -p build/work
printf '%s\n' "$COMMIT" >build/work/commit
"$python" -m PyInstaller --noconfirm --clean --log-level WARN \
    --distpath build/dist --workpath build/work build/fetchml.spec
echo "build/dist/fetchml: $(($(stat -c %s build/dist/fetchml) / 1000000)) MB, $("$PWD"/build/dist/fetchml version | tr '\n' ' ')"
