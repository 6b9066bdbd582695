#!/usr/bin/env bash
# Writes everything that is generated from the protos: the Python code, the descriptor sets,
# docs/api.md and the OpenAPI description. DESTINATION is a folder that stands for the root of the repository (default: the
# repository itself).
#
#   proto/generate.sh [DESTINATION]
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
destination=$(realpath "${1:-$root}")
python=$root/.venv/bin/python
protoc=$root/proto/protoc.sh
cd "$root/proto"

mkdir -p "$destination"/{fetchml/v1,fetchml/api/rest,proto,envoy,docs}
# A file of a proto that no longer exists must not stay behind.
rm -f "$destination"/fetchml/v1/*_pb2.py "$destination"/fetchml/v1/*_pb2.pyi \
  "$destination"/fetchml/v1/*_pb2_grpc.py

"$protoc" --python_out="$destination" --pyi_out="$destination" fetchml/v1/*.proto
# None leaves a field unset. The stubs of this compiler lack it for fields of type bool.
sed -i 's/: bool = \.\.\./: _Optional[bool] = .../g' "$destination"/fetchml/v1/*_pb2.pyi
# Only the protos with a service: the others would give empty modules.
# shellcheck disable=SC2046
"$protoc" --grpc_python_out="$destination" $(grep -l '^service ' fetchml/v1/*.proto)
# With all imports and the types of error details, so that clients in other languages need no
# other file.
"$protoc" --include_imports --descriptor_set_out="$destination/proto/fetchml.binpb" \
  fetchml/v1/*.proto google/rpc/{status,error_details}.proto
"$python" transcoder.py "$destination/proto/fetchml.binpb" "$destination/envoy/fetchml.pb"

commented=$(mktemp)
trap 'rm -f "$commented"' EXIT
"$protoc" --include_imports --include_source_info --descriptor_set_out="$commented" \
  fetchml/v1/*.proto
"$python" reference.py "$commented" "$destination/docs/api.md"
cd "$root"
"$python" -m proto.openapi proto/openapi.yaml "$commented" \
  "$destination/fetchml/api/rest/openapi.yaml"
