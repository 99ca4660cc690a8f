#!/usr/bin/env bash
# r1 train as several processes of this machine, without a launcher. usage: by_hand.sh RECIPE.yaml [key=value ...]
# RANKS: how many (default 2). MASTER_PORT: a free one (default 29500). R1: the program (default r1).
# Exits with the first code that is not 0; Ctrl-C reaches all of them.
set -eu
: "${RANKS:=2}" "${R1:=r1}"
export WORLD_SIZE=$RANKS LOCAL_WORLD_SIZE=$RANKS MASTER_ADDR=127.0.0.1 MASTER_PORT=${MASTER_PORT:-29500}
pids=()
for ((rank = 0; rank < RANKS; ++rank)); do
  RANK=$rank LOCAL_RANK=$rank "$R1" train "$@" &
  pids+=($!)
done
trap 'kill -TERM "${pids[@]}" 2> /dev/null || true' INT TERM
code=0
for pid in "${pids[@]}"; do
  status=0
  wait "$pid" || status=$?
  # A trapped signal ends wait itself: the rank is still saving.
  while kill -0 "$pid" 2> /dev/null; do wait "$pid" && status=0 || status=$?; done
  [ "$code" != 0 ] || code=$status
done
exit "$code"
