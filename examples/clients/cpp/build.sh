#!/usr/bin/env bash
# Generates the API's C++ code and builds the client into a folder (default: here), with only
# Debian's packages:
#
#   apt install g++ libgrpc++-dev protobuf-compiler-grpc
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=$(realpath "${1:-$here}")
mkdir -p "$out/generated"

# The descriptor set holds the API's protos and those of Google that they import.
protoc --descriptor_set_in="$here/../../../proto/fetchml.binpb" --cpp_out="$out/generated" --grpc_out="$out/generated" \
  --plugin=protoc-gen-grpc="$(command -v grpc_cpp_plugin)" fetchml/v1/task.proto \
  google/api/{annotations,field_behavior,http}.proto google/rpc/{error_details,status}.proto

cd "$out"
compile() { g++ -std=c++17 -O0 -Igenerated -c "$1" -o "generated/$(basename "$1" .cc).o"; }
export -f compile
find generated -name '*.cc' -size +3k | xargs -P "$(nproc)" -I{} bash -c 'compile {}'
g++ -std=c++17 -O0 -Igenerated "$here/client.cpp" generated/*.o -o client \
  -Wl,--copy-dt-needed-entries -lgrpc++ -lgrpc -lgpr -lprotobuf
