#!/usr/bin/env bash
# Fuzzes what reads models' text and users' requests, under address and undefined sanitizers.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
  cat <<EOF
usage: scripts/fuzz.sh [--seconds N] [TARGET ...]
Builds the libFuzzer programs (clang 16 or later: apt-get install clang-16 libclang-rt-16-dev) and runs each for N seconds
(default 600), one after another: math extract format language verify, or those named. Starts from tests/fuzz/corpus;
new inputs collect in build/fuzz/corpus/TARGET, findings in build/fuzz/findings. Exit code 1 if any target found something.
EOF
  exit 0
fi
seconds=600
if [ "${1:-}" = --seconds ]; then
  seconds=$2
  shift 2
fi
[ $# -gt 0 ] || set -- math extract format language verify
command -v clang++-16 > /dev/null || die "clang++-16 is missing: apt-get install clang-16 libclang-rt-16-dev"
cd "$ROOT"
cmake --preset fuzz > /dev/null
cmake --build --preset fuzz -- "${@/#/fuzz_}"
mkdir -p build/fuzz/findings
failed=0
for target in "$@"; do
  mkdir -p "build/fuzz/corpus/$target"
  say "fuzzing $target for $seconds s"
  log=build/fuzz/$target.log
  # 64 kB and 5 s are the promise; leaks count.
  if ! "build/fuzz/bin/fuzz_$target" -max_total_time="$seconds" -max_len=65536 -timeout=5 -rss_limit_mb=2048 \
      -print_final_stats=1 -artifact_prefix="build/fuzz/findings/$target-" ${R1_FUZZ_FLAGS:-} \
      "build/fuzz/corpus/$target" "tests/fuzz/corpus/$target" > "$log" 2>&1; then
    failed=1
    say "$target found something: see $log"
  fi
  grep -E 'number_of_executed_units|average_exec_per_sec|peak_rss_mb|slowest_unit|new_units_added' "$log" || true
done
exit $failed
