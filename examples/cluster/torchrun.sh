#!/usr/bin/env bash
# r1 train under torchrun. usage: torchrun.sh RECIPE.yaml [key=value ...]
# RANKS: processes of this machine (default 1; one a GPU). On several machines, on each of them: NODES (how many), NODE (which, from 0),
# MASTER_ADDR (address of node 0) and MASTER_PORT. R1: the program (default r1).
set -eu
: "${RANKS:=1}" "${NODES:=1}" "${NODE:=0}" "${MASTER_ADDR:=127.0.0.1}" "${MASTER_PORT:=29500}" "${R1:=r1}"
exec torchrun --no-python --nnodes="$NODES" --node-rank="$NODE" --nproc-per-node="$RANKS" \
  --master-addr="$MASTER_ADDR" --master-port="$MASTER_PORT" --max-restarts=0 "$R1" train "$@"
