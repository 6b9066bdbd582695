#!/bin/sh
# Makes .venv from the first Python 3.11 or newer that it finds, with everything in
# requirements.lock and this project (editable) in it, and builds the page. Does nothing when that
# is done already.
# PYTHON=/path/to/python3 chooses another interpreter.
set -eu
cd "$(dirname "$0")/.."

say() { echo "setup: $*" >&2; }

# What .venv was made from. A changed lock, project file or script makes it new.
wanted=$(cat requirements.lock pyproject.toml build/setup.sh | sha256sum)
stamp=.venv/.made-from
is_recent='import sys; sys.exit(sys.version_info < (3, 11))'

if [ "$(cat $stamp 2>/dev/null)" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then
    exec build/web.sh build
fi

find_python() {
    for candidate in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c "$is_recent" 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    say "FetchML needs Python 3.11 or newer, and ${PYTHON:-python3} is" \
        "$("${PYTHON:-python3}" --version 2>&1 || true). Install one, or name it: PYTHON=/path/to/python3 make setup"
    exit 1
}

# Debian keeps venv's other half (ensurepip) in a package of its own.
need_venv() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null && return
    package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        say "$1 cannot make virtual environments. As root: apt-get install $package"
        exit 1
    fi
    say "installing $package"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null
}

if ! .venv/bin/python -c "$is_recent; import pip" 2>/dev/null; then
    python=$(find_python)
    need_venv "$python"
    say "making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
fi

# --no-deps: the lock is complete, and nobody need work that out again.
install="install --quiet --no-deps --require-hashes"
say "installing what requirements.lock names"
# uv takes a tenth of pip's time. It is in the lock itself: its own lines there, alone.
sed -n '/^uv==/,/[^\\]$/p' requirements.lock | .venv/bin/python -m pip $install -r /dev/stdin
if ! .venv/bin/uv pip $install --python .venv/bin/python -r requirements.lock; then
    say "uv could not; pip goes on, which takes longer but knows this machine's pip settings"
    .venv/bin/python -m pip $install -r requirements.lock
fi
.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
.venv/bin/python -m pip check >/dev/null
echo "$wanted" >$stamp
say "building the page"
build/web.sh build
