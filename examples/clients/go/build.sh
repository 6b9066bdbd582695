#!/usr/bin/env bash
# Generates the API's Go code and builds the client into a folder (default: here), with Debian's
# packages alone:
#
#   apt install golang-go golang-google-grpc-dev protoc-gen-go-1-5 protoc-gen-go-grpc
#
# With Go modules: generate the same way, then `go mod init`, `go mod tidy`, `go build`.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=$(realpath "${1:-$here}")
mkdir -p "$out/src/client"

protoc --proto_path="$here/../../../proto" --go_out="$out/src" --go-grpc_out="$out/src" \
  fetchml/v1/task.proto
cp "$here/main.go" "$out/src/client/"
GO111MODULE=off GOPATH="$out:/usr/share/gocode" go build -o "$out/client" client
