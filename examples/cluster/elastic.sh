#!/usr/bin/env bash
# r1 train as several processes of this machine that is started again, from its newest checkpoint and journal, when a rank dies.
# usage: elastic.sh RECIPE.yaml [key=value ...]
# RANKS: how many (default 2). RANKS_COMMAND: prints, before each start, how many there can be now, for instance a count of healthy GPUs
# (default: RANKS as ever); none means that no start is left. RESTARTS: at most so many (default 3). Others as by_hand.sh, which it uses.
# Not started again: a run that ended, was stopped (130), or has a wrong recipe (2).
set -u
: "${RANKS:=2}" "${RESTARTS:=3}" "${RANKS_COMMAND:=echo $RANKS}"
here=$(dirname "$(readlink -f "$0")")
stopped=0 run=
trap 'stopped=1; [ -z "$run" ] || kill -TERM "$run" 2> /dev/null' INT TERM
for ((start = 0; ; ++start)); do
  ranks=$(bash -c "$RANKS_COMMAND") || ranks=0
  [ "$ranks" -gt 0 ] || { echo "elastic: no ranks are left" >&2; exit 1; }
  RANKS=$ranks TORCHELASTIC_RESTART_COUNT=$start "$here/by_hand.sh" "$@" &
  run=$!
  code=0
  wait "$run" || code=$?
  while kill -0 "$run" 2> /dev/null; do wait "$run" && code=0 || code=$?; done  # a trapped signal ends wait itself
  if [ "$stopped" = 1 ] || [ "$code" = 0 ] || [ "$code" = 2 ] || [ "$code" = 130 ] || [ "$start" -ge "$RESTARTS" ]; then exit "$code"; fi
  echo "elastic: $ranks ranks ended with $code; start $((start + 1)) of $RESTARTS" >&2
done
