#!/usr/bin/env bash
# protoc with the import paths of this API: this folder, and Google's protos (google/api,
# google/rpc) from the installed package googleapis-common-protos.
#
#   proto/protoc.sh OPTION… FILE…       files and relative outputs start in proto/
set -euo pipefail

cd "$(dirname "$0")"
python=../.venv/bin/python
google=$("$python" -c 'import pathlib, google.rpc.status_pb2 as m; print(pathlib.Path(m.__file__).parents[2])')
exec "$python" -m grpc_tools.protoc --proto_path=. --proto_path="$google" "$@"
