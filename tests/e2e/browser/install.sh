#!/usr/bin/env bash
# Installs what the tests with a browser need: axe-core and htmx from npm, by the lock file, and Debian's Chromium where
# there is none yet. (Playwright's own download would come from outside the mirrors.)
set -euo pipefail
cd "$(dirname "$0")"
stamp=node_modules/.installed
if ! { [ -e "$stamp" ] && [ "$stamp" -nt package-lock.json ]; }; then
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
  touch "$stamp"
fi
if [ -x /usr/bin/chromium ]; then exit 0; fi
sudo=""
if [ "$(id -u)" != 0 ]; then sudo="sudo -n"; fi
$sudo apt-get update -qq
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core
