#!/usr/bin/env bash
# Runs a command in a clone of this repository on a bare Debian that has only make, git and
# python3: what a new user's machine is.
#
#   build/bare_root.sh                        `make test` on Debian 13
#   build/bare_root.sh trixie make demo
#   build/bare_root.sh forky make test-python   with a newer Python
#
# As root on Debian. The command runs as root with namespaces of its own for mounts and processes;
# its root is entered by pivot_root, since no container starts in a plain chroot. CLONE_DIR
# chooses where in it the clone lies (default /srv/fetchml; below /root no other user may enter).
# PAGE=built takes the page that is built here, if it is of the same sources. Each run begins with a
# new system, made from packages that are kept in build/work/bare.
set -euo pipefail
cd "$(dirname "$0")/.."

suite=${1:-trixie}
shift || true
[ $# -gt 0 ] || set -- make test
clone=${CLONE_DIR:-/srv/fetchml}
kept=$PWD/build/work/bare
system=$kept/$suite.tar

[ "$(id -u)" -eq 0 ] || { echo "bare_root: needs root" >&2; exit 1; }
if ! command -v mmdebstrap >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mmdebstrap >/dev/null
fi

mkdir -p "$kept"
if [ -z "$(find "$system" -mtime -7 2>/dev/null)" ]; then
    echo "bare_root: making a bare Debian ($suite)" >&2
    # A testing suite's lists are valid for a week, and a mirror may lag behind.
    valid='Acquire::Check-Valid-Until "false"'
    mmdebstrap --quiet --variant=minbase --format=tar --include=ca-certificates,git,make,python3 \
        --aptopt="$valid" "$suite" "$system.new"
    mv "$system.new" "$system"
fi

work=$(mktemp -d /var/tmp/fetchml-bare.XXXXXX)
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root
mkdir "$root"
tar -x -f "$system" -C "$root"
cp --dereference /etc/resolv.conf "$root/etc/resolv.conf"
# What this machine trusts, the new one trusts too: a proxy between may have an authority of its own.
mkdir -p "$root/etc/ssl" "$(dirname "$root$clone")"
cp --dereference "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$root/etc/ssl/host.crt"
git clone --quiet "$PWD" "$root$clone"
# build/web.sh makes it anew where the sources differ.
[ "${PAGE:-}" != built ] || cp -r fetchml/api/ui/files "$root$clone/fetchml/api/ui/"

trusts=(SSL_CERT_FILE PIP_CERT REQUESTS_CA_BUNDLE CURL_CA_BUNDLE NODE_EXTRA_CA_CERTS GIT_SSL_CAINFO)
given=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8)
for name in "${trusts[@]}"; do given+=("$name=/etc/ssl/host.crt"); done
while IFS= read -r setting; do given+=("$setting"); done < <(env | grep -iE '^(https?|no)_proxy=' || true)
[ -z "${CI:-}" ] || given+=("CI=$CI")

# shellcheck disable=SC2016  # expanded in the new namespaces
exec_inside='
    root=$1 clone=$2; shift 2
    mount --bind "$root" "$root"
    cd "$root"
    mkdir -p old
    mount -t proc proc proc
    mount --rbind /dev dev
    mount --rbind /sys sys
    mount -t tmpfs tmpfs run
    pivot_root . old
    umount --lazy /old
    cd "$clone"
    exec "$@"'
unshare --mount --propagation private --pid --fork --kill-child --mount-proc \
    sh -euc "$exec_inside" bare_root "$root" "$clone" env -i "${given[@]}" "$@"
