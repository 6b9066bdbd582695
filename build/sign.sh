#!/usr/bin/env bash
# Writes the checksums of all files in FOLDER, and signs them with the SSH key that RELEASE_KEY
# names: `build/sign.sh FOLDER`. docs/operations.md shows how a user checks them.
set -euo pipefail
cd "$1"
rm -f SHA256SUMS SHA256SUMS.sig
# The list is made beside the folder, so that it is none of its own entries.
sums=$(sha256sum -- *)
printf '%s\n' "$sums" >SHA256SUMS
if [ -z "${RELEASE_KEY:-}" ]; then
    echo "sign: NOT SIGNED: nobody can check where these files come from. RELEASE_KEY=FILE" \
        "signs with the SSH key in FILE: don't publish them without" >&2
    exit 0
fi
if ! command -v ssh-keygen >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends openssh-client >/dev/null
fi
ssh-keygen -q -Y sign -f "$RELEASE_KEY" -n fetchml-release SHA256SUMS
