#!/usr/bin/env bash
# Kills `r1 train` at random moments and starts it again; the final weights must equal those of a run that was never killed.
# usage: kill_resume.sh R1_PROGRAM MODEL_DIR KILLS [SEED] [KIND]     exit code 77 = skipped (no model)
# KIND: grpo, async (grpo with the rollout beside the updates), sft, lora, reward_model, dpo, or a mode of distillation: logits, gkd, on_policy
set -eu
r1=$1 model=$2 kills=$3 seed=${4:-1} kind=${5:-grpo}
[ -e "$model/config.json" ] || { echo "skipped: no model at '$model' (R1_TEST_MODEL)"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat > "$dir/recipe.yaml" <<EOF
schema: 1
model: {path: $model}
train: {tokens_per_micro_batch: 1024}
output: {save_every: 3, keep: 1, tensorboard: false}
EOF
if [ "$kind" = grpo ] || [ "$kind" = async ]; then cat >> "$dir/recipe.yaml" <<EOF
kind: grpo
data: {generate: {task: max, level: 2, n: 200, seed: 0}}
rollout: {samples_per_prompt: 6, max_new_tokens: 12}
rewards: [{name: math, extract: last_number}]
rl: {steps: 6, prompts_per_rollout: 4, updates_per_rollout: 2, learning_rate: 1.0e-5, warmup_steps: 0, max_staleness: $([ "$kind" = async ] && echo 2 || echo 0)}
EOF
elif [ "$kind" = reward_model ] || [ "$kind" = dpo ]; then
  for i in $(seq 1 24); do
    echo "{\"prompt\": \"What is $i + 7?\", \"chosen\": \"$((i + 7))\", \"rejected\": \"It is $((i * 3)), I think.\"}"
  done > "$dir/pairs.jsonl"
  cat >> "$dir/recipe.yaml" <<EOF
kind: $kind
data: {path: $dir/pairs.jsonl}
$kind: {examples_per_update: 4, epochs: 1.2, warmup_steps: 1}
validation: {share: 0.17, every: 2}
EOF
elif [ "$kind" = logits ] || [ "$kind" = gkd ] || [ "$kind" = on_policy ]; then
  # A teacher that is not the student: after one update of SFT.
  "$r1" -q train "$dir/recipe.yaml" kind=sft 'data={generate: {task: add, level: 2, n: 8, seed: 5}}' \
    'sft={steps: 1, examples_per_update: 8, learning_rate: 1.0e-3}' output.dir="$dir/teacher" > "$dir/log" 2>&1 || { cat "$dir/log"; exit 1; }
  cat >> "$dir/recipe.yaml" <<EOF
kind: distill
distill: {mode: $kind, teacher: $dir/teacher/checkpoints/latest}
data: {generate: {task: add, level: 2, n: 24, seed: 0}}
EOF
  if [ "$kind" = on_policy ]; then echo 'rl: {steps: 6, prompts_per_rollout: 4, updates_per_rollout: 2, warmup_steps: 0}' >> "$dir/recipe.yaml"
  else echo 'sft: {epochs: 1, examples_per_update: 4, warmup_steps: 1}' >> "$dir/recipe.yaml"; fi
  [ "$kind" = logits ] || echo 'rollout: {max_new_tokens: 12}' >> "$dir/recipe.yaml"
else cat >> "$dir/recipe.yaml" <<EOF
kind: sft
data: {generate: {task: add, level: 2, n: 20, seed: 0}}
sft: {steps: 6, examples_per_update: 2, warmup_steps: 1}
validation: {share: 0.1, every: 3}
EOF
fi
[ "$kind" != lora ] || echo 'lora: {rank: 4, dropout: 0.1}' >> "$dir/recipe.yaml"
digest() { sha256sum "$1"/checkpoints/step_000006/model.safetensors | cut -c1-64; }
"$r1" -q train "$dir/recipe.yaml" output.dir="$dir/whole" > "$dir/whole.log" 2>&1 || { cat "$dir/whole.log"; exit 1; }
expected=$(digest "$dir/whole")
RANDOM=$seed
done_kills=0 round=0
while [ "$done_kills" -lt "$kills" ]; do
  round=$((round + 1))
  run=$dir/killed$round
  for _ in 1 2 3; do
    [ "$done_kills" -lt "$kills" ] || break
    "$r1" -q train "$dir/recipe.yaml" output.dir="$run" > "$dir/log" 2>&1 &
    pid=$!
    sleep "$((RANDOM % 5)).$((RANDOM % 10))"
    if kill -9 "$pid" 2> /dev/null; then done_kills=$((done_kills + 1)); fi
    wait "$pid" 2> /dev/null || true
  done
  "$r1" -q train "$dir/recipe.yaml" output.dir="$run" > "$dir/log" 2>&1 || { cat "$dir/log"; exit 1; }
  [ "$(digest "$run")" = "$expected" ] || { echo "round $round: the weights differ after $done_kills kills"; exit 1; }
  rm -rf "$run"
done
echo "$done_kills kills, $round runs: final weights equal ($expected)"
