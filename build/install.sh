#!/bin/sh
# Installs the executable of a release, after a check of its SHA-256: `sh install.sh` in the folder of
# the release, or with the address of that folder:
#
#   curl -fsSL https://HOST/FOLDER/install.sh | FETCHML_RELEASE=https://HOST/FOLDER sh
#
# Installs to /usr/local/bin as root, else to ~/.local/bin; FETCHML_BIN names another folder.
set -eu

fail() {
    echo "install: $*. Nothing was changed" >&2
    exit 1
}

get() { # NAME FILE: a file of the release
    case $release in
    http://* | https://*)
        if command -v curl >/dev/null; then
            curl --fail --silent --show-error --location --output "$2" "$release/$1"
        elif command -v wget >/dev/null; then
            wget --quiet --output-document="$2" "$release/$1"
        else
            fail "curl or wget is needed"
        fi
        ;;
    *) cp -- "$release/$1" "$2" ;;
    esac || fail "cannot read $release/$1"
}

# A function, so that a script that was cut off does nothing.
main() {
    [ "$(uname -s)" = Linux ] || fail "the server runs on Linux; elsewhere use the package fetchml"
    here=$(dirname "$0")
    [ -f "$here/SHA256SUMS" ] || here=
    release=${FETCHML_RELEASE:-$here}
    [ -n "$release" ] || fail "set FETCHML_RELEASE to the folder or address of a release"
    release=${release%/}
    if [ "$(id -u)" -eq 0 ]; then bin=/usr/local/bin; else bin=$HOME/.local/bin; fi
    bin=${FETCHML_BIN:-$bin}

    mkdir -p "$bin" || fail "cannot create $bin"
    # Beside the result, so that it takes its place in one step.
    draft=$(mktemp -d "$bin/.fetchml.XXXXXX") || fail "cannot write to $bin"
    trap 'rm -rf "$draft"' EXIT
    get SHA256SUMS "$draft/SHA256SUMS"
    name=$(sed -n "s/^[0-9a-f]\{64\}  \(fetchml-[0-9A-Za-z.+-]*-linux-$(uname -m)\)\$/\1/p" \
        "$draft/SHA256SUMS")
    [ -n "$name" ] || fail "the release has no executable for $(uname -m)"
    get "$name" "$draft/$name"
    (cd "$draft" && sha256sum --check --status --ignore-missing SHA256SUMS) \
        || fail "$name does not have the SHA-256 of SHA256SUMS: it is incomplete or was altered"
    chmod 755 "$draft/$name"
    version=$("$draft/$name" --version) || fail "$name does not run on this machine"
    mv -f "$draft/$name" "$bin/fetchml"

    echo "$version is in $bin/fetchml"
    case :$PATH: in
    *":$bin:"*) ;;
    *) echo "Add it to your PATH: export PATH=$bin:\$PATH" ;;
    esac
    echo "Next: fetchml doctor, then fetchml serve, or as a service: sudo $bin/fetchml service install"
}

main
