#!/usr/bin/env bash
# A real model learns on the GPU: two-digit addition, word problems and GSM8K, each from the same start with two seeds. Prints the
# evaluations (greedy and at temperature 1, with 95 % intervals) and updates a minute.
#   gpu_learning.sh R1 MODEL DATA OUT [SECONDS]   R1: the program (words); DATA: folder with svamp, mawps and gsm8k rows as JSON lines
set -uo pipefail
r1=$1 model=$2 data=$3 out=$4 limit=${5:-560}
began=$SECONDS
mkdir -p "$out"
left() { echo $((limit - (SECONDS - began))); }
run() {
  local name=$1 start=$SECONDS
  shift
  [ "$(left)" -gt 15 ] || { echo "$name: no time left"; return; }
  timeout -s INT "$(left)" $r1 train "$@" model.path="$model" output.dir="$out/$name" output.tensorboard=false output.samples_every=0 output.save_every=100000 \
    > "$out/$name.log" 2>&1
  local rc=$? updates
  updates=$(wc -l < "$out/$name/metrics.jsonl" 2> /dev/null || echo 0)
  echo "== $name: rc $rc, $((SECONDS - start)) s"
  grep -E 'eval at|error' "$out/$name.log"
  grep -E '^step' "$out/$name.log" | tail -n 1
}
for seed in 0 1; do
  run add2_$seed recipes/quickstart.yaml rl.steps=60 eval.every=20 seed=$seed
done
words="data.prompt=question data.answer=final rollout.max_new_tokens=200 rl.learning_rate=1e-5 rl.warmup_steps=5 eval.limit=300 eval.samples=1"
for seed in 0 1; do
  run words_$seed recipes/gsm8k.yaml "data.path=[$data/svamp_train.jsonl, $data/mawps_train.jsonl]" eval.data="$data/svamp_test.jsonl" $words rl.steps=300 eval.every=100 seed=$seed
done
for seed in 0 1; do
  run gsm8k_$seed recipes/gsm8k.yaml data.path="$data/train.jsonl" eval.data="$data/test_first_half.jsonl" rl.learning_rate=1e-5 \
    rl.warmup_steps=5 eval.limit=300 eval.samples=1 rl.steps=300 eval.every=100 seed=$seed
done
echo "total $((SECONDS - began)) s"
