"""The maths checker beside other graders: the same labelled pairs, one run, one JSON line a grader and class of inputs.

    python3 -m venv V && V/bin/pip install math-verify==0.9.0 latex2sympy2_extended==1.11.0 sympy==1.14.0 pylatexenc
    V/bin/python bench/peers/math_graders.py --bench build/release/bin/math_bench > graders.jsonl
    V/bin/python bench/peers/math_graders.py --table graders.jsonl

Pairs: tests/math_corpus, without the rows of options of ours. Peers are timed on a sample of every class, each pair once and in the order
of the file; ours on all of them, again and again. Both read gold and answer anew in every check. Times are CPU time, so that neighbours on
the machine count less; the table takes our `checks_per_cpu_s`.
"""

import argparse
import json
import logging
import pathlib
import random
import subprocess
import sys
import tempfile
import time

import math_peers

CORPUS = pathlib.Path(__file__).resolve().parents[2] / "tests" / "math_corpus"
CLASSES = {
    "integers": ["integer"],
    "fractions_decimals": ["fraction", "decimal", "mixed", "repeating", "percent", "ratio"],
    "latex_expressions": ["surd", "pi", "trig", "log", "power", "complex", "algebraic", "function", "rounding_functions"],
    "shapes": ["set", "interval", "union", "matrix", "equation", "inequality", "tuple", "list", "plus_minus", "sequence"],
}


def class_of(kind):
    return next((name for name, kinds in CLASSES.items() if kind in kinds), "other")


def pairs():
    rows = []
    for name in ("generated.jsonl", "handwritten.jsonl"):
        for line in (CORPUS / name).read_text().splitlines():
            row = json.loads(line)
            if "options" not in row:
                rows.append({"class": class_of(row["kind"]), **{k: row[k] for k in ("kind", "gold", "answer", "label")}})
    return rows


def quantile(values, q):
    return values[min(len(values) - 1, int(q * len(values)))]


def measure(name, grade, group, rows):
    seconds, failed = [], 0
    count = {"right": 0, "missed": 0, "wrong": 0, "accepted": 0}
    for row in rows:
        start = time.process_time()
        try:
            equal = bool(grade(row["gold"], row["answer"]))
        except Exception:
            equal, failed = False, failed + 1
        seconds.append(time.process_time() - start)
        count["right" if row["label"] else "wrong"] += 1
        count["missed"] += row["label"] and not equal
        count["accepted"] += not row["label"] and equal
    us = sorted(1e6 * s for s in seconds)
    return {"bench": "math", "grader": name, "class": group, "threads": 1, "pairs": len(rows), **count, "failed": failed,
            "checks_per_s": round(len(rows) / sum(seconds), 1), "p50_us": round(quantile(us, 0.5), 1),
            "p999_us": round(quantile(us, 0.999), 1), "max_us": round(us[-1])}  # fmt: skip


def table(path):
    lines = [json.loads(line) for line in open(path)]
    graders = list(dict.fromkeys(row["grader"] for row in lines))
    classes = [c for c in [*CLASSES, "other"] if any(row["class"] == c for row in lines)]
    print("| grader | " + " | ".join("%s: right missed, wrong accepted; checks/s" % c.replace("_", " ") for c in classes) + " |")
    print("| --- |" + " --- |" * len(classes))
    for g in graders:
        cells = []
        for c in classes:
            row = next((r for r in lines if r["grader"] == g and r["class"] == c and r["threads"] == 1), None)
            cells.append("" if row is None else "{:.1f} %, {:.1f} %; {:,.0f}".format(
                100 * row["missed"] / max(1, row["right"]), 100 * row["accepted"] / max(1, row["wrong"]), row.get("checks_per_cpu_s", row["checks_per_s"])))  # fmt: skip
        print("| %s | %s |" % (g, " | ".join(cells)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", help="our math_bench; without it only the peers run")
    parser.add_argument("--seconds", type=float, default=1, help="a case of ours")
    parser.add_argument("--sample", type=int, default=250, help="pairs of a class for each peer; 0 = all")
    parser.add_argument("--graders", nargs="*", default=list(math_peers.GRADERS), choices=list(math_peers.GRADERS))
    parser.add_argument("--table", help="print the lines of an earlier run as a Markdown table, and stop")
    args = parser.parse_args()
    if args.table:
        return table(args.table)
    logging.disable(logging.CRITICAL)
    rows = pairs()
    if args.bench:
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
            f.write("".join(json.dumps(r) + "\n" for r in rows))
            f.flush()
            for threads in ("1", "2"):
                subprocess.run([args.bench, f.name, str(args.seconds), threads], check=True, stdout=sys.stdout)
    for name in args.graders:
        grade = math_peers.GRADERS[name]
        try:
            grade("1", "1")  # imports; a missing package is said, not counted as a wrong verdict
        except ImportError as e:
            print(json.dumps({"bench": "math", "grader": name, "skipped": str(e)}), file=sys.stderr)
            continue
        for group in [*CLASSES, "other"]:
            part = [r for r in rows if r["class"] == group]
            if args.sample and len(part) > args.sample:
                chosen = set(random.Random(1).sample(range(len(part)), args.sample))
                part = [r for i, r in enumerate(part) if i in chosen]
            print(json.dumps(measure(name, grade, group, part)), flush=True)


if __name__ == "__main__":
    main()
