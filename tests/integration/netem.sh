#!/usr/bin/env bash
# The services test behind 5 % of lost packets and 50 ms of delay with jitter on the loopback of a network namespace of its own.
# usage: netem.sh PYTHON R1_PROGRAM    exit code 77 = skipped: no namespaces, no tc, or a kernel without netem
set -eu
here=$(dirname "$(readlink -f "$0")")
command -v unshare > /dev/null && command -v tc > /dev/null && command -v ip > /dev/null || { echo "skipped: unshare, tc or ip is missing"; exit 77; }
unshare -n true 2> /dev/null || { echo "skipped: no network namespaces here"; exit 77; }
unshare -n bash -c 'ip link set lo up && tc qdisc add dev lo root netem loss 5% delay 50ms 10ms' 2> /dev/null || { echo "skipped: this kernel has no netem"; exit 77; }
exec unshare -n bash -c 'ip link set lo up && tc qdisc add dev lo root netem loss 5% delay 50ms 10ms && exec "$@"' netem "$1" -B "$here/services.py" "$2" 4
