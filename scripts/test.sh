#!/usr/bin/env bash
# From nothing to a tested build: dependencies, build, model, then every test.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
  cat <<EOF
usage: scripts/test.sh [--all] [--unit] [ctest arguments ...]
Installs what is needed, builds everything and runs the tests; those labelled \`slow\` only with --all.
  --unit     unit tests alone (under a minute)
Tests that need something that is not here (a GPU, optional data, Python with transformers) report "skipped".
  R1_GOLDEN_PYTHON   a Python with torch, transformers, trl, tokenizers: runs the golden tests against them
EOF
  exit 0
fi
filter=(-LE slow)
case "${1:-}" in
  --all) filter=(); shift ;;
  --unit) filter=(-L unit); shift ;;
esac
"$ROOT/scripts/build.sh" --tests
"$ROOT/scripts/model.sh"
cd "$ROOT/build/release"
export R1_TEST_MODEL=${R1_TEST_MODEL:-$MODEL_DIR}
[ -x "$DEPS/venv/bin/ctest" ] && PATH=$DEPS/venv/bin:$PATH
say "running the tests"
exec ctest --output-on-failure -j 2 "${filter[@]}" "$@"
