#!/usr/bin/env bash
# The wheel of the program, in a fresh environment: it runs from there with the libraries that it carries.
#   program_wheel.sh CHECKOUT [PYTHON [BUILD_FOLDER]]     R1_DEPS_DIR: where scripts/deps.sh put Arrow, if not in the checkout. exit 77: no network or no venv here; a build folder is kept for the next time
set -euo pipefail
root=$(cd "$1" && pwd)
python=${2:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv" 2> "$work/log" || { echo "skipped: no venv: $(tail -n1 "$work/log")"; exit 77; }
pip=("$work/venv/bin/pip" --disable-pip-version-check -q)
"${pip[@]}" download --no-deps -d "$work/probe" "scikit-build-core>=0.10" > "$work/log" 2>&1 || { echo "skipped: no package index: $(tail -n1 "$work/log")"; exit 77; }
"${pip[@]}" wheel --no-deps -w "$work/dist" ${3:+-Cbuild-dir="$3"} ${R1_DEPS_DIR:+-Ccmake.define.R1_DEPS_DIR="$R1_DEPS_DIR"} "$root/python/program"
wheel=$(ls "$work"/dist/r1_cpp-*.whl)
du -h "$wheel"
"${pip[@]}" install "$wheel"
"$work/venv/bin/pip" list 2> /dev/null | grep -iE '^(torch|nvidia)' && { echo "the wheel depends on torch"; exit 1; }
cd "$work"
r1=$work/venv/bin/r1
"$r1" --version
[ "$("$r1" data add --level 2 --n 3 | wc -l)" = 3 ]
"$work/venv/bin/python" -m r1_cpp verify math <<< '{"id": 1, "gold": "\\frac{1}{2}", "answer": "0.5"}' | grep -q '"correct":true'
set +e
"$r1" train nothing.yaml 2> /dev/null
[ $? = 2 ] || { echo "exit codes do not pass through"; exit 1; }
set -e
package=$("$work/venv/bin/python" -c 'import r1_cpp; print(r1_cpp.recipes().parent)')
[ -f "$package/recipes/quickstart.yaml" ]
# Every library comes from the wheel or is the C or C++ one.
ldd "$package/bin/r1" | grep -vE "linux-vdso|$package/bin/\.\./lib/|/lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s)\.so|ld-linux" | grep . && { echo "a library is the system's"; exit 1; }
echo ok
