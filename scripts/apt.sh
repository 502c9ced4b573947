#!/usr/bin/env bash
# Installs what is not on the Python package index: Chromium (tests of the HTML page), Icarus Verilog
# (the second simulator), Verilator's coverage reader, OpenSTA (critical paths), ccache (compiled
# Verilog is kept between runs).
set -euo pipefail
wanted=()
for pair in chromium:chromium iverilog:iverilog verilator_coverage:verilator sta:opensta ccache:ccache; do
  command -v "${pair%%:*}" >/dev/null || wanted+=("${pair#*:}")
done
if [ "${#wanted[@]}" -eq 0 ]; then
  exit 0
fi
run=()
if [ "$(id -u)" -ne 0 ]; then
  run=(sudo)
fi
"${run[@]}" apt-get update -qq
DEBIAN_FRONTEND=noninteractive "${run[@]}" apt-get install -y -qq --no-install-recommends "${wanted[@]}" >/dev/null
