#!/usr/bin/env bash
# r1 train under mpirun; MPI only starts the processes. usage: mpirun.sh RECIPE.yaml [key=value ...]
# RANKS: processes in all (default 2). HOSTS: host1:slots,host2:slots (default this machine); then MASTER_ADDR is the first of them.
# MASTER_PORT: the same on all, free on the first. R1: the program (default r1). Options below are Open MPI's; MPICH and Intel MPI pass
# variables on by themselves: there leave out -x.
set -eu
: "${RANKS:=2}" "${R1:=r1}" "${MASTER_PORT:=29500}"
hosts=()
if [ -n "${HOSTS:-}" ]; then
  hosts=(--host "$HOSTS")
  : "${MASTER_ADDR:=${HOSTS%%[:,]*}}"
fi
export MASTER_ADDR=${MASTER_ADDR:-127.0.0.1} MASTER_PORT
exec mpirun -np "$RANKS" "${hosts[@]}" -x MASTER_ADDR -x MASTER_PORT "$R1" train "$@"
