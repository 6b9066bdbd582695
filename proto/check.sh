#!/usr/bin/env bash
# Fails if the protos break a lint rule, break a client of the last release, or differ from the
# generated files. `proto/baseline.binpb` is the descriptor set of the last release: a release
# copies `proto/fetchml.binpb` over it.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
buf=.venv/bin/buf
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT

# buf finds no imports in an installed package, so it checks the descriptor set that protoc makes.
(cd proto && ./protoc.sh --include_imports --include_source_info \
  --descriptor_set_out="$fresh/image.binpb" fetchml/v1/*.proto)
$buf lint "$fresh/image.binpb" --path fetchml
$buf format --diff --exit-code
$buf breaking "$fresh/image.binpb" --path fetchml --exclude-imports --against proto/baseline.binpb

proto/generate.sh "$fresh"
if ! diff -rq --exclude=__init__.py --exclude=__pycache__ "$fresh/fetchml/v1" fetchml/v1 ||
  ! cmp "$fresh/proto/fetchml.binpb" proto/fetchml.binpb ||
  ! cmp "$fresh/envoy/fetchml.pb" envoy/fetchml.pb ||
  ! diff "$fresh/docs/api.md" docs/api.md ||
  ! diff "$fresh/fetchml/api/rest/openapi.yaml" fetchml/api/rest/openapi.yaml; then
  echo "The generated files differ from the protos: run make proto and commit the result." >&2
  exit 1
fi
