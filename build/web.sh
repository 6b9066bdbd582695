#!/bin/sh
# Builds and checks the page of web/: build | check | test | watch | lock.
#
# build      into fetchml/api/ui/files, which git ignores; nothing to do if it is recent
# check      types, and the size of the first view
# test       the tests of the page's state, in node
# watch      build again at each change; the server serves the new files at once
# lock       resolve the packages again into package-lock.json
#
# Node comes from .venv, packages from package-lock.json, whose hashes npm verifies.
set -eu
cd "$(dirname "$0")/../web"
PATH=$PWD/../.venv/bin:$PWD/node_modules/.bin:$PATH
export PATH
export NODE_ENV=development NO_UPDATE_NOTIFIER=1
built=../fetchml/api/ui/files
api=../fetchml/api/rest/openapi.yaml

hash_of() { cat "$@" | sha256sum | cut -d ' ' -f 1; }

install_packages() {
    wanted=$(hash_of package-lock.json package.json)
    if [ "$(cat node_modules/.made-from 2>/dev/null)" != "$wanted" ]; then
        npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2
        echo "$wanted" >node_modules/.made-from
    fi
}

make_types() {
    install_packages
    python ../build/openapi_types.py >src/api/types.ts.new
    mv src/api/types.ts.new src/api/types.ts
}

# What the page is built from.
sources() {
    find src -type f ! -name types.ts ! -name '*.new' | LC_ALL=C sort
    find licenses -type f; echo package.json package-lock.json build.mjs "$api" ../build/openapi_types.py
}

build() {
    # shellcheck disable=SC2046  # one word a file
    wanted=$(hash_of $(sources))
    [ "$(cat $built/.made-from 2>/dev/null)" = "$wanted" ] && return
    make_types
    node build.mjs
    echo "$wanted" >$built/.made-from
}

case ${1:-build} in
build | check | test)
    # One at a time: CI makes the release beside the tests, and both set up this folder.
    exec 9<package.json
    flock 9
    ;;
esac

case ${1:-build} in
build) build ;;
check)
    make_types
    tsc --project .
    build
    node size.mjs
    ;;
test)
    make_types
    node build.mjs test
    node --test "../build/work/web-tests/*.mjs"
    ;;
watch)
    make_types
    echo "web: building at each change" >&2
    exec node build.mjs watch
    ;;
lock)
    # Packages of this machine's own npm settings only; no addresses in the lock.
    npm install --package-lock-only --ignore-scripts --no-audit --no-fund
    node -e '
        const fs = require("fs"), name = "package-lock.json";
        const lock = JSON.parse(fs.readFileSync(name, "utf8"));
        for (const entry of Object.values(lock.packages)) delete entry.funding;
        fs.writeFileSync(name, JSON.stringify(lock, null, 2) + "\n");'
    ;;
*)
    sed -n '2,9s/^# \{0,1\}//p' "../build/web.sh" >&2
    exit 2
    ;;
esac
