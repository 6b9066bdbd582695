#!/usr/bin/env bash
# Fails if the protos break a rule, break a client of the last release, or are ahead of the
# generated code. `proto/baseline.binpb` is the descriptor set of the last release: a release
# copies `proto/fetchml.binpb` over it.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
buf=.venv/bin/buf

$buf lint
$buf format --diff --exit-code
$buf breaking --against proto/baseline.binpb

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
proto/generate.sh "$fresh"
if ! diff -rq --exclude=__init__.py --exclude=__pycache__ "$fresh/fetchml/v1" fetchml/v1 ||
  ! cmp "$fresh/proto/fetchml.binpb" proto/fetchml.binpb ||
  ! cmp "$fresh/envoy/fetchml.pb" envoy/fetchml.pb ||
  ! diff "$fresh/docs/api.md" docs/api.md; then
  echo "What is generated does not fit the protos: run make proto and commit what it writes." >&2
  exit 1
fi
