#!/usr/bin/env bash
# Installs what is not on the Python package index: Chromium, for the tests of the HTML page.
set -euo pipefail
if command -v chromium >/dev/null; then
  exit 0
fi
run=()
if [ "$(id -u)" -ne 0 ]; then
  run=(sudo)
fi
"${run[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${run[@]}" apt-get install -y -qq --no-install-recommends chromium >/dev/null
