#!/bin/sh
# Builds the shim for every supported machine into fetchml/shim/, or into the folder given.
# The same source gives the same bytes. PYTHON names the interpreter that has ziglang.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
into=${1:-$here/../fetchml/shim}

for machine in x86_64 aarch64; do
    "${PYTHON:-python3}" -m ziglang cc -target "$machine-linux-musl" -std=gnu11 -Os -s -static \
        -Wall -Wextra -Werror "$here"/*.c -o "$into/shim-$machine" &
    builds="${builds:-} $!"
done
for build in $builds; do wait "$build"; done
