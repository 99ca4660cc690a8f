#!/usr/bin/env bash
# `pip install .` in a fresh virtual environment makes a working package: builds the wheel from a checkout, installs it where
# nothing else is, runs the package's tests from there, and lets mypy and pyright read the types if they can be had.
#   install_test.sh CHECKOUT [PYTHON [BUILD_FOLDER]]     exit 77: no network or no venv here; a build folder is kept for the next time
set -euo pipefail
root=$(cd "$1" && pwd)
python=${2:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv" 2> "$work/log" || { echo "skipped: no venv: $(tail -n1 "$work/log")"; exit 77; }
pip=("$work/venv/bin/pip" --disable-pip-version-check -q)
"${pip[@]}" download --no-deps -d "$work/probe" "nanobind>=2.0" > "$work/log" 2>&1 || { echo "skipped: no package index: $(tail -n1 "$work/log")"; exit 77; }

echo "pip install ."
"${pip[@]}" install ${3:+-Cbuild-dir="$3"} "$root"
"$work/venv/bin/pip" list 2> /dev/null | grep -i '^r1-verifiers'
cd "$work"  # away from the checkout: what is imported is what was installed
cp "$root/python/tests/test_module.py" .
"$work/venv/bin/python" -B -c 'import r1, sys; assert r1.__file__.startswith(sys.prefix), r1.__file__; print(r1.verify_math("1/2", "0.5"))'
"$work/venv/bin/python" -B test_module.py

package=$("$work/venv/bin/python" -c 'import os, r1; print(os.path.dirname(r1.__file__))')
[ -f "$package/py.typed" ] && [ -f "$package/_core.pyi" ]
cp "$root/python/tests/typed_use.py" .
if "${pip[@]}" install mypy pyright > "$work/log" 2>&1; then
  "$work/venv/bin/mypy" --strict -p r1
  "$work/venv/bin/mypy" --strict typed_use.py
  # pyright wants node, which its package may not be able to get.
  if "$work/venv/bin/pyright" --version > "$work/log" 2>&1; then "$work/venv/bin/pyright" --pythonpath "$work/venv/bin/python" typed_use.py
  else echo "pyright not run: $(tail -n1 "$work/log")"; fi
else
  echo "types not checked: $(tail -n1 "$work/log")"
fi
echo ok
