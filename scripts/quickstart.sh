#!/usr/bin/env bash
# From nothing to a model that learns: dependencies, build, model, and the main job with live progress.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then
  cat <<EOF
usage: scripts/quickstart.sh [key=value ...]
Installs what is needed, builds r1, gets SmolLM2-135M-Instruct and trains it by GRPO to add two-digit numbers
(recipes/quickstart.yaml) on the CPU: under 30 minutes from nothing on two cores, at most 10 of them training.
Arguments override the recipe, e.g. scripts/quickstart.sh rl.steps=5 output.dir=runs/try
EOF
  exit 0
fi
"$ROOT/scripts/build.sh"
"$ROOT/scripts/model.sh"
cd "$ROOT"
say "training: build/release/bin/r1 train recipes/quickstart.yaml $*"
exec build/release/bin/r1 train recipes/quickstart.yaml "$@"
