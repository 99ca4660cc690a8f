#!/usr/bin/env bash
# r1 serve-rewards as a whole: serves, is checked, scores over gRPC what r1 score scores alone, drains at SIGTERM.
# usage: serve_rewards.sh R1_PROGRAM EXAMPLES_DIR
set -euo pipefail
program=$1
examples=$2
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill -9 "$server" 2> /dev/null || true; rm -rf "$work"' EXIT
fail() { echo "FAILED: $*" >&2; cat "$work"/*.log >&2 || true; exit 1; }

"$program" serve-rewards --listen 127.0.0.1:0 --rewards math,format,exact_match > "$work/server.log" 2>&1 &
server=$!
for _ in $(seq 300); do
  grep -q '^listening on ' "$work/server.log" && break
  if ! kill -0 "$server" 2> /dev/null; then
    grep -q 'built without gRPC' "$work/server.log" && { server=; echo "no gRPC in this build"; exit 77; }
    fail "the server did not start"
  fi
  sleep 0.1
done
address=$(sed -n 's/^listening on //p' "$work/server.log")
[ -n "$address" ] || fail "no address"

"$program" serve-rewards --check "$address/math" > "$work/check.log" 2>&1 || fail "the check of our own service"
grep -q 'keeps to the contract' "$work/check.log" || fail "the check says nothing"
"$program" serve-rewards --check "$address/nothing" > "$work/nothing.log" 2>&1 && fail "a reward that is not there passed the check"
grep -q "it has: exact_match, format and math" "$work/nothing.log" || fail "the names are not said"

"$program" score "$examples/answers.jsonl" --rewards exact_match,format -o "$work/alone.jsonl" > "$work/alone.log" 2>&1 || fail "r1 score"
"$program" score "$examples/answers.jsonl" --rewards "grpc://$address/exact_match,grpc:$address/format" -o "$work/remote.jsonl" > "$work/remote.log" 2>&1 || fail "r1 score over gRPC"
values() { python3 -c 'import json, sys
for line in open(sys.argv[1]):
    row = json.loads(line)
    print(row["reward"], row.get("verdict"))' "$1"; }
[ "$(values "$work/alone.jsonl")" = "$(values "$work/remote.jsonl")" ] || fail "rewards differ over gRPC: $(values "$work/alone.jsonl") / $(values "$work/remote.jsonl")"

code=0
"$program" score "$examples/answers.jsonl" --rewards "grpc:example.org:1/x" -o "$work/no.jsonl" > "$work/no.log" 2>&1 || code=$?
[ $code = 2 ] || fail "another machine without TLS: exit code $code"
grep -q 'add tls:' "$work/no.log" || fail "no remedy for another machine"

kill -TERM "$server"
code=0
wait "$server" || code=$?
server=
[ $code = 0 ] || fail "exit code $code after SIGTERM"
grep -q 'stopped after' "$work/server.log" || fail "no last word"
echo "serve_rewards: ok"
