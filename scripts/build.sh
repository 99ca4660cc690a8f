#!/usr/bin/env bash
# Configures and builds a release; leaves the program at build/release/bin/r1.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
  cat <<EOF
usage: scripts/build.sh [--tests] [TARGET...]
Gets the dependencies (scripts/deps.sh), configures build/release and builds r1 (or the targets named).
  --tests    build everything, tests and benchmarks too
  R1_JOBS    parallel jobs (default: one a core)
EOF
  exit 0
fi
targets=(r1)
if [ "${1:-}" = --tests ]; then targets=(all); shift; fi
[ $# -gt 0 ] && targets=("$@")

"$ROOT/scripts/deps.sh"
[ -x "$DEPS/venv/bin/cmake" ] && PATH=$DEPS/venv/bin:$PATH
jobs=${R1_JOBS:-$(nproc)}
say "building ${targets[*]} in build/release ($jobs jobs)"
cmake -S "$ROOT" -B "$ROOT/build/release" -G Ninja -DCMAKE_BUILD_TYPE=Release -DR1_DEPS_DIR="$DEPS" > "$DEPS/logs/configure.log" 2>&1 ||
  { tail -n 25 "$DEPS/logs/configure.log" >&2; die "configuring failed; see $DEPS/logs/configure.log"; }
cmake --build "$ROOT/build/release" -j "$jobs" --target "${targets[@]}" > "$DEPS/logs/build.log" 2>&1 ||
  { grep -E 'error|FAILED' "$DEPS/logs/build.log" | head -n 20 >&2; die "the build failed; see $DEPS/logs/build.log"; }
say "built: build/release/bin"
