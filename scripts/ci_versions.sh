#!/usr/bin/env bash
# Installs the wheel of the base package, without extras, for each Python and each of constraints/lowest.txt and
# constraints/newest.txt, and runs the tests of tests/packaging/base_tests.txt and the quick commands.
#
# Usage: scripts/ci_versions.sh [PYTHONS [CONSTRAINTS]], such as '3.12 3.13' lowest
#
# Two environments at a time. An interpreter is `pythonX.Y`, or pyenv's; those that are not at hand
# are named. It fails if an environment failed, or if there was no interpreter at all.
set -euo pipefail
cd "$(dirname "$0")/.."
pythons="${1:-3.11 3.12 3.13}"
constraints="${2:-lowest newest}"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT

interpreter() {
  local found
  for found in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/"python$1"; do
    if "$found" -c 'import ensurepip' >/dev/null 2>&1; then
      echo "$found"
      return
    fi
  done
}

# Usage: try VERSION INTERPRETER CONSTRAINTS
try() {
  local venv="$folder/$1-$3" here="$PWD"
  "$2" -m venv --without-pip "$venv"
  "$folder/build/bin/python" -m pip --python "$venv/bin/python" install --quiet --no-compile \
    --disable-pip-version-check "$wheel[base-test]" -c "constraints/$3.txt"
  # shellcheck disable=SC2046  # the list is words
  NUMBA_CACHE_DIR="$venv/numba" NUMBA_NUM_THREADS=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
    "$venv/bin/python" -m pytest -q -p no:cacheprovider -o addopts= \
    -m 'not slow and not rtl and not model' $(grep -v '^#' tests/packaging/base_tests.txt)
  cd "$folder"
  local command
  while read -r command; do
    # shellcheck disable=SC2086  # words of a command
    "$venv/bin/"$command >/dev/null
  done <"$here/tests/packaging/quick_commands.txt"
}

absent=()
runs=()
for version in $pythons; do
  python="$(interpreter "$version")"
  if [ -z "$python" ]; then
    absent+=("$version")
    continue
  fi
  for which in $constraints; do
    runs+=("$version $python $which")
  done
done
if [ "${#absent[@]}" -gt 0 ]; then
  echo "not at hand: Python ${absent[*]}"
fi
if [ "${#runs[@]}" -eq 0 ]; then
  echo "no interpreter of: $pythons" >&2
  exit 1
fi

# One wheel for all; the tests see the checkout, the quick commands only what is installed.
read -r _ python _ <<<"${runs[0]}"
"$python" -m venv "$folder/build"
"$folder/build/bin/python" -m pip wheel --quiet --disable-pip-version-check --no-deps \
  --wheel-dir "$folder" .
wheel="$(echo "$folder"/hwsim-*.whl)"

failed=0
# Usage: finish PID NAME
finish() {
  if wait "$1"; then
    echo "Python $2: $(grep -E '^[0-9]+ passed' "$folder/$2.log" | tail -1)"
  else
    echo "Python $2: failed"
    tail -n 60 "$folder/$2.log"
    failed=1
  fi
}
waiting=()
for run in "${runs[@]}"; do
  read -r version python which <<<"$run"
  (set -e; try "$version" "$python" "$which") >"$folder/$version-$which.log" 2>&1 &
  waiting+=("$! $version-$which")
  if [ "${#waiting[@]}" -eq 2 ]; then
    # shellcheck disable=SC2086  # a process and its name
    finish ${waiting[0]}
    waiting=("${waiting[@]:1}")
  fi
done
for one in "${waiting[@]}"; do
  # shellcheck disable=SC2086  # a process and its name
  finish $one
done
exit "$failed"
