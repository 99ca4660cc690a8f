#!/usr/bin/env bash
# `r1 train` on the GPU: three steps, killed and started again; the weights equal those of a run that was not, and the planned
# memory is within 10 % of what is used.   usage: gpu_train.sh R1_PROGRAM MODEL_DIR     exit code 77 = skipped (no model or no GPU)
set -eu
r1=$1 model=$2
[ -e "$model/config.json" ] || { echo "skipped: no model at '$model' (R1_TEST_MODEL)"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/recipe.yaml" <<EOF
schema: 1
kind: grpo
model: {path: $model, device: cuda}
data: {generate: {task: max, level: 2, n: 200, seed: 0}}
rollout: {samples_per_prompt: 8, max_new_tokens: 24}
rewards: [{name: math, extract: last_number}]
rl: {steps: 3, prompts_per_rollout: 8, learning_rate: 1.0e-5, warmup_steps: 0, kl: {coefficient: 0.01}}
output: {save_every: 1, keep: 1, tensorboard: false}
EOF
digest() { sha256sum "$1"/checkpoints/step_000003/model.safetensors | cut -c1-64; }
run() { "$r1" train "$dir/recipe.yaml" output.dir="$1" > "$dir/log" 2>&1; }
if ! run "$dir/whole"; then
  if grep -q 'error: device cuda:' "$dir/log"; then tail -1 "$dir/log"; echo skipped; exit 77; fi
  cat "$dir/log"; exit 1
fi
cat "$dir/log"
python3 - "$dir/whole" "$dir/log" <<'EOF'
import json, re, sys
rows = [json.loads(line) for line in open(sys.argv[1] + '/metrics.jsonl')]
steps = [r for r in rows if 'mismatch/max_abs_logp' in r]
assert len(steps) == 3, len(steps)
assert all(r['mismatch/max_abs_logp'] == 0 for r in steps), [r['mismatch/max_abs_logp'] for r in steps]
amount, unit = re.search(r'planned peak ([\d.]+) (GiB|MiB)', open(sys.argv[2]).read()).groups()
planned = float(amount) / (1 if unit == 'GiB' else 1024)
used = max(r['memory/peak_gb'] for r in steps)
assert abs(planned - used) <= 0.1 * used, (planned, used)
environment = json.load(open(sys.argv[1] + '/environment.json'))
environment = environment['starts'][-1]
assert environment['device'] != 'cpu', environment
print(f"memory: planned {planned:.1f} GiB, used {used:.1f} GiB on {environment['device']}")
EOF
expected=$(digest "$dir/whole")
kills=0
for delay in 3 5 7; do
  "$r1" -q train "$dir/recipe.yaml" output.dir="$dir/killed" > "$dir/log" 2>&1 &
  pid=$!
  sleep "$delay"
  if kill -9 "$pid" 2> /dev/null; then kills=$((kills + 1)); fi
  wait "$pid" 2> /dev/null || true
done
run "$dir/killed" || { cat "$dir/log"; exit 1; }
[ "$(digest "$dir/killed")" = "$expected" ] || { echo "the weights differ after $kills kills"; exit 1; }
echo "$kills kills: final weights equal ($expected)"
