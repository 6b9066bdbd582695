#!/usr/bin/env bash
# Generates the API's Go code and builds the client into a folder (default: here), with only the packages
# of Debian 13 (older ones have no Go 1.24, which the client needs):
#
#   apt install golang-go golang-google-grpc-dev protoc-gen-go-1-5 protoc-gen-go-grpc
#
# This is GOPATH mode. In a module of your own the import path is another: see docs/clients.md.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=$(realpath "${1:-$here}")
mkdir -p "$out/src/client"

# The descriptor set holds the API's protos and those of Google that they import.
protoc --descriptor_set_in="$here/../../../proto/fetchml.binpb" \
  --go_out="$out/src" --go-grpc_out="$out/src" fetchml/v1/task.proto
cp "$here/main.go" "$out/src/client/"
GO111MODULE=off GOPATH="$out:/usr/share/gocode" go build -o "$out/client" client
