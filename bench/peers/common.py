"""Shared by the peer benchmarks: machine facts, prompts of an exact length, timing, JSON lines.

Only the standard library is imported at the top, so that a script can report "skipped" where a peer is not installed.
"""

import importlib.metadata
import json
import os
import random
import statistics
import sys
import time


def load_average():
    """The 1-minute load average: above the benchmark's own threads means that something else ran."""
    return round(os.getloadavg()[0], 2)


def cpu_facts():
    """CPU name, cores this process may use, and the instruction sets that decide which kernels run."""
    name, flags = "unknown", set()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            for line in f:
                key, _, value = line.partition(":")
                if key.strip() == "model name":
                    name = value.strip()
                elif key.strip() == "flags":
                    flags = set(value.split())
    except OSError:
        pass
    isa = [x for x in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16") if x in flags]
    return {"cpu": name, "cores": len(os.sched_getaffinity(0)), "isa": isa}


def versions(*packages):
    out = {"python": sys.version.split()[0]}
    for package in packages:
        try:
            out[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            pass
    return out


def record(case, **fields):
    """One result: prints it as one JSON line on stdout and returns it."""
    row = {"case": case, **fields, **cpu_facts(), "date": time.strftime("%Y-%m-%d %H:%M:%S")}
    print(json.dumps(row), flush=True)
    return row


class OthersMeter:
    """How many cores other processes kept busy, on average, since the object was made; 0.0 is a quiet machine.

    The load average lags by a minute and counts our own threads; this does neither.
    """

    def __init__(self):
        self._start = self._read()

    @staticmethod
    def _read():
        try:
            with open("/proc/stat", encoding="utf-8") as f:
                v = [int(x) for x in f.readline().split()[1:9]]
        except OSError:
            return None
        busy = sum(v) - v[3] - v[4]  # all but idle and waiting for I/O
        own = os.times()
        return (
            time.perf_counter(),
            busy / os.sysconf("SC_CLK_TCK"),
            own.user + own.system + own.children_user + own.children_system,
        )

    def cores(self):
        now = self._read()
        if now is None or self._start is None:
            return None
        wall, busy, own = (b - a for a, b in zip(self._start, now))
        return round(max(0.0, (busy - own) / max(wall, 1e-3)), 2)


QUIET_CORES = 0.15  # a run during which others used more than this many cores is disturbed


def wait_for_quiet(deadline):
    """Sleeps until half a second passed in which others were quiet, or until perf_counter() is past deadline."""
    while time.perf_counter() < deadline:
        meter = OthersMeter()
        time.sleep(0.5)
        if (meter.cores() or 0.0) <= QUIET_CORES:
            break


def enough(out, runs, deadline):
    """Whether `out`, tuples that end in the cores others used, holds `runs` quiet ones, or any `runs` after the deadline."""
    quiet = sum(run[-1] <= QUIET_CORES for run in out)
    return quiet >= runs or (len(out) >= runs and time.perf_counter() >= deadline)


def least_disturbed(out, runs):
    """The `runs` least disturbed of `out`; quiet ones count as equal and stay in order."""
    return sorted(out, key=lambda run: max(run[-1], QUIET_CORES))[:runs]


def timed_runs(fn, runs, patience=0.0, warmup=1):
    """(wall seconds, processor seconds, cores others used) of `runs` calls of fn after `warmup` calls that do not count.

    With patience > 0 a call starts only when the last half second was quiet, and a disturbed one is made again, until
    that many seconds have passed in all; then the least disturbed ones are returned, whatever they were.
    """
    deadline = time.perf_counter() + patience
    for _ in range(warmup):
        wait_for_quiet(deadline)
        fn()
    out = []
    while True:
        wait_for_quiet(deadline)
        meter, wall, cpu = OthersMeter(), time.perf_counter(), time.process_time()
        fn()
        out.append((time.perf_counter() - wall, time.process_time() - cpu, meter.cores() or 0.0))
        if enough(out, runs, deadline):
            return least_disturbed(out, runs)


def summary(runs):
    """Fields of a list of (wall seconds, processor seconds, cores others used)."""
    wall, cpu, others = zip(*runs)
    return {
        "runs_s": [round(s, 4) for s in wall],
        "median_s": round(statistics.median(wall), 4),
        "min_s": round(min(wall), 4),
        "cpu_median_s": round(statistics.median(cpu), 4),
        "others_cores": max(others),
    }


_WORDS = (
    " time year people way day man thing woman life child world school state family student group country problem "
    "hand part place case week company system program question work government number night point home water room "
    "mother area money story fact month lot right study book eye job word business issue side kind head house"
).split()


def prompt_texts(tokenizer, count, tokens, seed=0):
    """`count` different prompts that the tokenizer turns into exactly `tokens` ids each."""
    rng = random.Random(seed)
    words = [w for w in _WORDS if len(tokenizer(" " + w, add_special_tokens=False)["input_ids"]) == 1]
    if not words:
        raise SystemExit("prompt_texts: no word of the list is one token in this vocabulary; use another model")
    out = []
    for _ in range(20 * count + 100):
        text = "The" + "".join(" " + rng.choice(words) for _ in range(tokens))
        ids = tokenizer(text, add_special_tokens=False)["input_ids"][:tokens]
        text = tokenizer.decode(ids)
        if tokenizer(text)["input_ids"] == ids:
            out.append(text)
            if len(out) == count:
                return out
    raise SystemExit(f"prompt_texts: only {len(out)} of {count} prompts have {tokens} tokens; is BOS added?")
