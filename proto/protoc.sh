#!/usr/bin/env bash
# protoc with the import paths of this API: this folder, and Google's protos (google/api,
# google/rpc) from the installed package googleapis-common-protos. The compiler has an environment
# of its own, because it is older than the libraries that FetchML runs with (protoc.in).
#
#   proto/protoc.sh OPTION… FILE…       files and relative outputs start in proto/
set -euo pipefail

cd "$(dirname "$0")"
programs=../.venv/bin
compiler=../.venv/protoc
if ! cmp --silent protoc.lock $compiler/made-from; then
    $programs/uv venv --quiet --clear --python $programs/python $compiler
    $programs/uv pip install --quiet --python $compiler --no-deps --require-hashes -r protoc.lock
    cp protoc.lock $compiler/made-from
fi
google=$($programs/python -c 'import pathlib, google.rpc.status_pb2 as m; print(pathlib.Path(m.__file__).parents[2])')
exec $compiler/bin/python -m grpc_tools.protoc --proto_path=. --proto_path="$google" "$@"
