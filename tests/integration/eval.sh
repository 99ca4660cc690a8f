#!/usr/bin/env bash
# `r1 eval` on a real model: kills at random moments leave the bytes of an uninterrupted call; two models are compared; bad
# calls say what is wrong before any work.
# usage: eval.sh R1_PROGRAM MODEL_DIR KILLS [SEED]     exit code 77 = skipped (no model)
set -eu
r1=$1 model=$2 kills=$3
RANDOM=${4:-1}
[ -e "$model/config.json" ] || { echo "skipped: no model at '$model' (R1_TEST_MODEL)"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"$r1" -q data max --level 2 --split test --n 16 --seed 0 --out "$dir/max.jsonl"
call() { "$r1" -q eval -m "$model" -d "$dir/max.jsonl" -n 3 --k 2,3 --max-new-tokens 12 --template none "$@"; }
fail() { echo "FAIL $1"; exit 1; }
call -o "$dir/whole" --json > "$dir/whole.json"
python3 - "$dir/whole.json" <<'EOF'
import json, sys
r = json.load(open(sys.argv[1]))["benchmarks"]["max"]
assert r["greedy"]["items"] == 16 and r["sampled"]["completions"] == 48, r
assert {"pass@1", "pass@2", "pass@3", "cons@3", "interval"} <= r["sampled"]["strict"].keys(), r
EOF
done_kills=0
while [ "$done_kills" -lt "$kills" ]; do
  rm -rf "$dir/killed"
  for _ in 1 2; do
    call -o "$dir/killed" > /dev/null 2>&1 &
    pid=$!
    sleep "$((RANDOM % 3)).$((RANDOM % 10))"
    if kill -9 "$pid" 2> /dev/null; then done_kills=$((done_kills + 1)); fi
    wait "$pid" 2> /dev/null || true
  done
  call -o "$dir/killed" > /dev/null
  for file in max.samples.jsonl max.items.jsonl max.settings.json; do
    cmp "$dir/whole/$file" "$dir/killed/$file" || fail "$file differs after $done_kills kills"
  done
done
# A greedy-only call with another template, compared with the first by its folder.
"$r1" -q eval -m "$model" -d "$dir/max.jsonl" --max-new-tokens 12 -o "$dir/chat" > /dev/null
"$r1" -q eval -m "$dir/whole" --compare "$dir/chat" > "$dir/table"
grep -q "p McNemar" "$dir/table" || fail "no comparison"
grep -q "max .* greedy .* 16 " "$dir/table" || fail "no greedy row"
# A model against results: what is kept lies in --out itself, and is compared by that name.
"$r1" -q eval -m "$model" -d "$dir/max.jsonl" --max-new-tokens 12 --template none -o "$dir/new" --compare "$dir/chat" > "$dir/table"
grep -q "p McNemar" "$dir/table" || fail "no comparison of a model with results"
"$r1" -q eval -m "$dir/new" --compare "$dir/chat" > "$dir/again"
diff <(sed -n '/p McNemar/,$p' "$dir/table") <(sed -n '/p McNemar/,$p' "$dir/again") || fail "comparison by name differs"
refuses() { # what the error must say, then the call's arguments
  local part=$1
  shift
  local code=0
  "$r1" -q "$@" > "$dir/out" 2>&1 || code=$?
  [ "$code" = 2 ] || fail "exit code $code, not 2: $*"
  grep -q -- "$part" "$dir/out" || fail "'$part' is not in: $(cat "$dir/out")"
}
refuses "seed was 0, is 1" eval -m "$model" -d "$dir/max.jsonl" -n 3 --k 2,3 --max-new-tokens 12 --template none -o "$dir/whole" --seed 1
# Other weights under the same settings: one byte at the end of the file.
mkdir "$dir/model"
cp "$model"/* "$dir/model/"
chmod u+w "$dir/model/model.safetensors"
printf '\001' | dd of="$dir/model/model.safetensors" bs=1 seek=$(($(stat -c %s "$dir/model/model.safetensors") - 1)) conv=notrunc status=none
refuses "model.weights was" eval -m "$dir/model" -d "$dir/max.jsonl" -n 3 --k 2,3 --max-new-tokens 12 --template none -o "$dir/whole"
rm -rf "$dir/model"
refuses "holds results of max, none of gsm8k" eval -m "$dir/new" -b gsm8k --compare "$dir/chat"
mkdir "$dir/two"
cp -r "$dir/new" "$dir/two/a"
refuses "name one of them: $dir/two/a" eval -m "$dir/two" --compare "$dir/chat"
mkdir "$dir/nothing"
refuses "no results of r1 eval in it" eval -m "$dir/nothing" --compare "$dir/chat"
refuses "do not fit the context" eval -m "$model" -d "$dir/max.jsonl" --max-new-tokens 99999
refuses "did you mean 'gsm8k'" eval -m "$model" -b gsm8l
refuses "none of its files" eval -m "$model" -b gsm8k -d "$dir"
refuses "needs at least 8 samples" eval -m "$model" -d "$dir/max.jsonl" -n 4 --k 8
refuses "is no URL" eval -m "$model" -d "$dir/max.jsonl" --served-model m
refuses "served-model is missing" eval -m http://127.0.0.1:1/v1 -d "$dir/max.jsonl"
echo "$done_kills kills: bytes equal; comparison and errors as they should be"
