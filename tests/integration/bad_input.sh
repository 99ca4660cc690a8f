#!/usr/bin/env bash
# Bad input gives one clear line, the right exit code, and leaves nothing half-written.
# usage: bad_input.sh R1_PROGRAM MODEL_DIR      exit code 77 = skipped (no model)
set -u
r1=$1 model=$2
[ -e "$model/config.json" ] || { echo "skipped: no model at '$model' (R1_TEST_MODEL)"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0

# expect NAME CODE "words of the message" COMMAND...
expect() {
  local name=$1 code=$2 words=$3 out got
  shift 3
  out=$("$@" 2>&1 < /dev/null)
  got=$?
  if [ "$got" != "$code" ]; then echo "FAIL $name: exit code $got, expected $code: $out"; failed=1; return; fi
  if ! grep -qiE "$words" <<< "$out"; then echo "FAIL $name: no '$words' in: $out"; failed=1; return; fi
  if [ "$(grep -c 'error:' <<< "$out")" != 1 ]; then echo "FAIL $name: not one error line: $out"; failed=1; return; fi
  echo "ok   $name"
}

recipe() { cat > "$dir/$1.yaml"; }
recipe good <<EOF
schema: 1
kind: grpo
model: {path: $model}
data: {path: $dir/train.jsonl}
rollout: {samples_per_prompt: 2, max_new_tokens: 4}
rewards: [{name: math}]
rl: {steps: 1, prompts_per_rollout: 1}
output: {dir: $dir/run, tensorboard: false}
EOF
echo '{"prompt": "What is 1 + 1?", "answer": "2"}' > "$dir/train.jsonl"
: > "$dir/empty.jsonl"
echo '{"wrong": 1}' > "$dir/column.jsonl"
printf '{"prompt": "a", "answer": "1"}\n{broken\n' > "$dir/broken.jsonl"
mkdir -p "$dir/torn" "$dir/arch"
cp "$model"/*.json "$dir/torn/"
head -c 1000000 "$model/model.safetensors" > "$dir/torn/model.safetensors"
cp "$model"/*.json "$dir/arch/"
sed -i 's/"model_type": *"llama"/"model_type": "mamba9"/; s/LlamaForCausalLM/Mamba9ForCausalLM/' "$dir/arch/config.json"
t="$r1 -q train $dir/good.yaml"

expect "missing recipe" 2 "nowhere.yaml" "$r1" train "$dir/nowhere.yaml"
expect "unknown key" 2 "did you mean" $t rl.lerning_rate=1
expect "wrong type" 2 "rl.steps" $t rl.steps=many
expect "value out of range" 2 "temperature" $t rollout.temperature=-1
expect "missing data file" 2 "does not exist" $t data.path="$dir/none.jsonl"
expect "empty data" 2 "empty|no rows|no row" $t data.path="$dir/empty.jsonl"
expect "missing column" 2 "column|wrong" $t data.path="$dir/column.jsonl"
expect "broken JSON" 2 "broken.jsonl:2" $t data.path="$dir/broken.jsonl"
expect "missing model" 1 "not found" $t model.path="$dir/no_model"
expect "torn safetensors" 1 "model.safetensors" $t model.path="$dir/torn"
expect "unknown architecture" 1 "mamba9" $t model.path="$dir/arch"
expect "prompt longer than the context" 2 "max_new_tokens|context" $t rollout.max_new_tokens=9000
expect "unknown kind" 2 "kind.*grpo" $t kind=ppo
expect "unknown reward" 2 "maths" "$r1" eval -m "$model" -d "$dir/train.jsonl" --rewards maths
expect "unknown command" 2 "no command 'nonsense'; r1 --help" "$r1" nonsense
expect "misspelt command" 2 "did you mean 'train'" "$r1" --threads 2 trian recipe.yaml
expect "no command" 2 "subcommand is required" "$r1"
printed() { "$@" > /dev/full; }
expect "output to a full disk" 1 "standard output: No space" printed "$r1" data add --level 1 --n 2
expect "no such task" 2 "additionn" "$r1" data additionn
expect "output is a file" 1 "not a folder" $t output.dir="$dir/train.jsonl"
mkdir "$dir/small"
if unshare -m mount -t tmpfs -o size=8m tmpfs "$dir/small" 2> /dev/null; then
  expect "no room for a checkpoint" 2 "has .* free, one checkpoint takes" unshare -m bash -c "mount -t tmpfs -o size=8m tmpfs '$dir/small' && exec $t output.dir='$dir/small/run'"
else echo "skipped: no room for a checkpoint (no mounts here)"; fi
[ -e "$dir/run" ] && { echo "FAIL something was written to the run folder"; failed=1; }
exit $failed
