#!/usr/bin/env bash
# Makes build/dist/release/: the executable for every x86-64 or aarch64 Linux since 2020 (glibc
# 2.31: Debian 11, Ubuntu 20.04, RHEL 9), the list of what is in it, its Debian package, the Python
# packages (fetchml and fetchml-server, each as a wheel and a source distribution), what builds and
# runs a container image, the script that installs the executable, and checksums, which are signed
# with the SSH key that RELEASE_KEY names.
#
# Fails where a library has a known vulnerability that build/audit-exceptions.txt does not list, and
# where no source of advisories can be reached; RELEASE_AUDIT=offline makes a release without one.
#
# It is built from the last commit, in a Debian 11 of its own, with an OpenSSL and a CPython built
# there from the source packages of Debian 12, which still gets security fixes. As root on Debian.
# The Debian 11 is kept in build/work/ for the next time; `rm -r build/work` makes it anew.
set -euo pipefail
cd "$(dirname "$0")/.."

commit=$(git rev-parse --short=12 HEAD)
epoch=$(git log -1 --format=%ct)
root=$PWD/build/work/debian-11
python_version=3.11
built=$PWD/build/dist/release

[ "$(id -u)" -eq 0 ] || { echo "release: needs root, for a Debian 11 in a chroot" >&2; exit 1; }
case ${RELEASE_AUDIT:-strict} in
strict)
    .venv/bin/python build/audit.py --strict || {
        echo "release: not made: see the line above. Update the library (make lock), list the" \
            "vulnerability in build/audit-exceptions.txt, or, where only the source of advisories" \
            "is out of reach: RELEASE_AUDIT=offline" >&2
        exit 1
    }
    ;;
offline) .venv/bin/python build/audit.py ;;
*)
    echo "release: RELEASE_AUDIT is strict or offline, not $RELEASE_AUDIT" >&2
    exit 1
    ;;
esac
# What the page is built from is what the commit has.
page="web build/web.sh build/openapi_types.py fetchml/api/rest/openapi.yaml"
# shellcheck disable=SC2086  # one word a path
if [ -n "$(git status --porcelain -- $page)" ]; then
    echo "release: the page's sources are not committed: git status -- $page" >&2
    exit 1
fi
build/web.sh build
say() { echo "release: $* ($SECONDS s)"; }

if ! command -v debootstrap >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >/dev/null
fi

# The mounts are this command's own: whatever happens, nothing stays mounted.
inside() {
    unshare --mount --pid --fork --kill-child sh -c '
        mount -t proc proc "$1/proc" && root=$1 && shift && exec chroot "$root" "$@"' \
        inside "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
        DEBIAN_FRONTEND=noninteractive SSL_CERT_FILE=/etc/ssl/host.crt "$@"
}

# A root that an older version of this script made is made anew, and so is one of more than a week:
# Debian has mended its libraries since, which go into the file.
this_script=$(sha256sum <build/release.sh)
if [ "$(cat "$root/ready" 2>/dev/null)" != "$this_script" ] || [ -n "$(find "$root/ready" -mtime +7)" ]; then
    say "Debian 11"
    rm -rf "$root"
    mkdir -p "$root"
    debootstrap --variant=minbase bullseye "$root" >build/work/debootstrap.log
    # The newest fixes, and the sources of Debian 12, whose CPython is recent enough.
    mirror=$(sed -n 's/^deb \(.*\) bullseye main.*/\1/p' "$root/etc/apt/sources.list")
    printf '%s\n' "deb $mirror-security bullseye-security main" "deb-src $mirror bookworm main" \
        "deb-src $mirror-security bookworm-security main" >>"$root/etc/apt/sources.list"
    cp /usr/share/keyrings/debian-archive-keyring.gpg "$root/etc/apt/trusted.gpg.d/newer.gpg"
    inside apt-get update -qq
    inside apt-get upgrade -y -qq >/dev/null
    inside apt-get install -y -qq --no-install-recommends build-essential dpkg-dev \
        zlib1g-dev libffi-dev libbz2-dev liblzma-dev libexpat1-dev >build/work/apt.log
    say "OpenSSL"
    inside sh -euc '
        mkdir -p /build && cd /build
        # The newest fix; the last point release has it where the mirror lacks that.
        apt-get source -qq openssl || apt-get source -qq openssl/bookworm
        cd openssl-*/
        SOURCE_DATE_EPOCH=$(dpkg-parsechangelog -STimestamp)
        export SOURCE_DATE_EPOCH
        # Where the system that runs it keeps its certificates is what Debian'"'"'s own would say.
        ./Configure --prefix=/opt/openssl --libdir=lib --openssldir=/usr/lib/ssl shared no-tests
        nice make -s -j"$(nproc)"
        make -s install_sw
        dpkg-parsechangelog -SVersion >/opt/openssl/version
        rm -r /build' openssl >build/work/openssl.log 2>&1 \
        || { tail -n 20 build/work/openssl.log >&2; exit 1; }
    say "CPython $python_version"
    # pyexpat: Debian's fix of it includes what only CPython's own modules may.
    inside sh -euc '
        mkdir -p /build && cd /build
        apt-get source -qq "python$1" || apt-get source -qq "python$1/bookworm"
        cd "python$1"-*/
        # Its banner has the time at which it was compiled.
        SOURCE_DATE_EPOCH=$(dpkg-parsechangelog -STimestamp)
        export SOURCE_DATE_EPOCH
        ./configure --prefix=/opt/python --enable-shared --without-ensurepip --with-system-expat \
            --disable-test-modules --with-openssl=/opt/openssl --with-openssl-rpath=auto \
            LDFLAGS=-Wl,-rpath,/opt/python/lib
        sed -i "s/^MODULE_PYEXPAT_CFLAGS=.*/& -DPy_BUILD_CORE_MODULE/" Makefile
        nice make -s -j"$(nproc)"
        make -s install
        "/opt/python/bin/python$1" -c "
import calendar, platform, time
built = time.strptime(platform.python_build()[1], \"%b %d %Y %H:%M:%S\")
assert calendar.timegm(built) == $SOURCE_DATE_EPOCH, platform.python_build()"
        rm -r /build' cpython "$python_version" >build/work/cpython.log 2>&1 \
        || { tail -n 20 build/work/cpython.log >&2; exit 1; }
    inside "/opt/python/bin/python$python_version" -c '
import bz2, ctypes, lzma, pyexpat, ssl, zlib
assert ssl.OPENSSL_VERSION_INFO >= (3,), ssl.OPENSSL_VERSION'
    echo "$this_script" >"$root/ready"
fi

say "libraries"
# What the lock says, of that only what runs, and what builds; each file's hash is the lock's.
python=/opt/python/bin/python$python_version
lock() {
    .venv/bin/uv pip compile "$@" --constraint requirements.lock --generate-hashes --quiet \
        --universal --python-version "$python_version" --no-annotate --no-header --no-emit-index-url
}
lock pyproject.toml --extra server \
    --no-emit-package fetchml --no-emit-package fetchml-server >build/work/runs.lock
lock - <<<pyinstaller >build/work/builds.lock
cat build/work/runs.lock build/work/builds.lock | grep -o 'sha256:[0-9a-f]*' | sort -u \
    | comm -23 - <(grep -o 'sha256:[0-9a-f]*' requirements.lock | sort -u) | if read -r unknown; then
        echo "release: requirements.lock does not have $unknown: run make lock" >&2
        exit 1
    fi
rm -rf "$root/venv" "$root/source"
mkdir -p "$root/source" "$root/work" "$root/etc/ssl"
install .venv/bin/uv "$root/usr/local/bin/"
cp --dereference "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$root/etc/ssl/host.crt"
cp build/work/runs.lock build/work/builds.lock "$root/work/"
inside "/usr/local/bin/uv" venv --quiet --python "$python" /venv
for part in runs builds; do
    inside /usr/local/bin/uv pip install --quiet --python /venv/bin/python --no-deps \
        --require-hashes -r "/work/$part.lock"
done

say "build"
git archive HEAD | tar -x -C "$root/source"
# The page is built out here, of the same commit: node needs a newer glibc than Debian 11's.
cp -r fetchml/api/ui/files "$root/source/fetchml/api/ui/"
inside env PYTHON=/venv/bin/python COMMIT="$commit" SOURCE_DATE_EPOCH="$epoch" \
    /source/build/build.sh

name=fetchml-$(inside /source/build/dist/fetchml version | sed -n 's/^fetchml //p')-linux-$(uname -m)
rm -rf "$built"
mkdir -p "$built"
cp "$root/source/build/dist/fetchml" "$built/$name"
.venv/bin/cyclonedx-py requirements build/work/runs.lock --pyproject pyproject.toml \
    --output-reproducible --output-file build/work/libraries.cdx.json
.venv/bin/python build/sbom.py "$root" build/work/libraries.cdx.json >"$built/$name.cdx.json"
say "packages"
PYTHON=.venv/bin/python "$root/source/build/packages.sh" "$built"
.venv/bin/python -m build.debian.package "$built/$name" "$built"
install -m 755 build/install.sh "$built"
install -m 644 build/image/Dockerfile build/image/compose.yaml "$built"
say "done: $built"
ls -l "$built"
# Last, so that nobody misses that a release is not signed.
build/sign.sh "$built"
