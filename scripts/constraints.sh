#!/usr/bin/env bash
# Makes constraints/: the lowest and the newest versions of the base installation for every Python
# that is supported, and the versions of everything that the README's two lines install.
# Needs uv (`pip install uv`). scripts/ci_versions.sh tries the first two.
set -euo pipefail
cd "$(dirname "$0")/.."
export UV_NO_CONFIG=1

# Usage: compile FILE SENTENCE OPTIONS...
compile() {
  local file="constraints/$1" sentence="$2"
  shift 2
  local found
  found="$(uv pip compile pyproject.toml --quiet --no-header --no-annotate "$@")"
  printf '# %s\n# Made by scripts/constraints.sh.\n%s\n' "$sentence" "$found" >"$file"
}

for which in lowest:lowest-direct newest:highest; do
  compile "${which%%:*}.txt" "The ${which%%:*} versions of what the base installation needs, and its tests." \
    --universal --python-version 3.11 --only-binary :all: --extra base-test --resolution "${which#*:}"
done
compile lock.txt "Versions of what the README's two lines install, for Python 3.11 on x86-64 Linux:
#   pip install torch==2.13.0 -e '.[test]' -c constraints/lock.txt
# Without hashes: pip takes none beside -e, and torch==2.13.0 may be the CPU file or the CUDA file." \
  --python-version 3.11 --python-platform x86_64-manylinux_2_28 --extra test \
  --constraint <(echo torch==2.13.0)
