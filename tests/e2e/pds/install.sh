#!/usr/bin/env bash
# Installs the PDS, the PLC directory and the Node 22 that they need, from the lock file. Does nothing when done already.
# better-sqlite3 is built from source against that Node's own headers: a prebuilt one would come from outside npm.
set -euo pipefail
cd "$(dirname "$0")"
stamp=node_modules/.installed
if [ -e "$stamp" ] && [ "$stamp" -nt package-lock.json ]; then exit 0; fi
npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
node_home=$(dirname "$(dirname "$(ls node_modules/node-*64/bin/node | head -n 1)")")
export PATH="$PWD/$node_home/bin:$PATH" npm_config_nodedir="$PWD/$node_home"
npm rebuild better-sqlite3 --build-from-source --loglevel=error
touch "$stamp"
