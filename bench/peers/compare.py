"""Table of our benchmark lines against the peers', with ratios.

  python compare.py --ours OURS.jsonl... --peers PEERS.jsonl... [--require grpo/mixed=5]

A ratio is always speed, ours / peer: 2.00 means that ours takes half the time. Lines pair up when kind, batch,
prompt_tokens, new_tokens and threads agree (one that a side does not give counts as equal; "train" is tokens/s and may
differ in batch).
Fields read from a line, all others are ignored:
  kind, else case or bench  "rollout" | "train" | "grpo"; "rollout_b64" or "bench/train" count by the word in it
  batch                     sequences at once (grpo: completions a step; prompts x group or samples where it is absent)
  prompt_tokens, new_tokens, threads
  tokens_per_s              or tok_s: rollout: generated tokens/s, prefill included; train: prompt + completion tokens/s
  step_s                    grpo: seconds of a whole step (median_s and seconds are read likewise)
  train_s                   grpo, optional: its training part; gives a "train" line too (so does train_tokens_per_s)
  dtype, peer, others_cores, cpu, skipped, failed
Of several lines of one case the last one counts. --require KIND=RATIO or KIND/DTYPE=RATIO (repeatable) makes the exit
code 1 when one of our cases of that kind is less than RATIO times as fast as the fastest peer (of that dtype) it pairs
with, or when none pairs.
"""

import argparse
import json
import sys

KINDS = ("rollout", "train", "grpo")


def kind_of(row):
    text = str(row.get("kind") or row.get("case") or row.get("bench") or "")
    return next((k for k in ("grpo", "train", "rollout") if k in text), None)


def number(row, *names):
    for name in names:
        value = row.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0:
            return float(value)
    return None


def normalise(row, default_name):
    """Rows {kind, name, dtype, batch, prompt, new, speed, unit} of one JSON line; speed is higher-is-better."""
    kind = kind_of(row)
    if kind is None:
        return []
    batch = number(row, "batch")
    group = number(row, "group", "samples")
    if batch is None and number(row, "prompts") and group:
        batch = number(row, "prompts") * group
    base = {
        "name": str(row.get("peer") or default_name),
        "dtype": str(row.get("dtype", "")),
        "batch": batch,
        "prompt": number(row, "prompt_tokens"),
        "new": number(row, "new_tokens"),
        "threads": number(row, "threads"),
        "others": row.get("others_cores"),
        "cpu": row.get("cpu"),
    }
    out = []
    if kind == "grpo":
        step = number(row, "step_s", "median_s", "seconds")
        if step:
            out.append({**base, "kind": "grpo", "speed": 1.0 / step, "shown": f"{step:.2f} s/step"})
        train = number(row, "train_tokens_per_s")
        if train is None and all((number(row, "train_s"), batch, base["prompt"], base["new"])):
            train = batch * (base["prompt"] + base["new"]) / number(row, "train_s")
        if train:
            out.append({**base, "kind": "train", "speed": train, "shown": f"{train:.0f} tok/s"})
    else:
        speed = number(row, "tokens_per_s", "tok_s")
        if speed is None and kind == "rollout" and all((batch, base["new"], number(row, "median_s", "seconds"))):
            speed = batch * base["new"] / number(row, "median_s", "seconds")
        if speed:
            out.append({**base, "kind": kind, "speed": speed, "shown": f"{speed:.1f} tok/s"})
    return out


def read(paths, default_name):
    rows, notes = {}, []
    for path in paths:
        with open(path, encoding="utf-8") as f:
            for n, line in enumerate(f, 1):
                if not line.lstrip().startswith("{"):
                    continue  # a log line between the JSON lines
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise SystemExit(f"{path}:{n}: broken JSON line: {error}") from error
                if "skipped" in row or "failed" in row:
                    notes.append(f"{row.get('case')}: {row.get('skipped') or row.get('failed')}")
                    continue
                parts = normalise(row, default_name)
                if not parts and kind_of(row):
                    notes.append(f"{path}:{n}: case {row.get('case')!r} has no speed field; see compare.py --help")
                for part in parts:
                    key = tuple(part[k] for k in ("kind", "name", "dtype", "batch", "prompt", "new", "threads"))
                    rows[key] = part
    return list(rows.values()), notes


def pairs(ours, peer):
    same = all(ours[k] is None or peer[k] is None or ours[k] == peer[k] for k in ("prompt", "new", "threads"))
    if ours["kind"] != peer["kind"] or not same:
        return False
    return ours["batch"] == peer["batch"] or ours["kind"] == "train"  # tokens/s: the batch need not agree


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", nargs="+", required=True)
    parser.add_argument("--peers", nargs="+", required=True)
    parser.add_argument("--require", action="append", default=[], metavar="KIND[/DTYPE]=RATIO")
    args = parser.parse_args()
    required = {}
    for item in args.require:
        what, _, ratio = item.partition("=")
        if what.partition("/")[0] not in KINDS or not ratio:
            parser.error(f"--require {item}: give KIND=RATIO or KIND/DTYPE=RATIO with KIND of {', '.join(KINDS)}")
        required[what] = float(ratio)

    ours, ours_notes = read(args.ours, "r1")
    peers, peer_notes = read(args.peers, "peer")
    lines, worst = [], {}
    for row in sorted(ours, key=lambda r: (KINDS.index(r["kind"]), r["batch"] or 0)):
        matches = [p for p in peers if pairs(row, p)]
        label = f"{row['kind']} b{row['batch'] or 0:.0f} {row['prompt'] or 0:.0f}+{row['new'] or 0:.0f}"
        if not matches:
            lines.append((label, row["dtype"], row["shown"], "-", "-", "-"))
        for peer in sorted(matches, key=lambda p: -p["speed"]):
            ratio = row["speed"] / peer["speed"]
            name = f"{peer['name']} {peer['dtype']}".strip()
            lines.append((label, row["dtype"], row["shown"], name, peer["shown"], f"{ratio:.2f}"))
        for peer in matches:  # the least ratio against any peer, and against those of each dtype
            for what in (row["kind"], f"{row['kind']}/{peer['dtype']}"):
                worst[what] = min(worst.get(what, float("inf")), row["speed"] / peer["speed"])
    header = ("case", "ours", "speed", "peer", "speed", "ours/peer")
    print("| " + " | ".join(header) + " |\n|" + "---|" * len(header))
    for line in lines:
        print("| " + " | ".join(line) + " |")
    cpus = {r["cpu"] for r in ours + peers if r["cpu"]}
    if len(cpus) > 1:
        print(f"\nWarning: measured on different CPUs: {', '.join(sorted(cpus))}")
    busy = [r["others"] for r in ours + peers if isinstance(r["others"], (int, float)) and r["others"] > 0.2]
    if busy:
        print(
            f"\nWarning: no fair comparison, other processes used up to {max(busy)} cores during {len(busy)} lines"
        )
    for note in ours_notes + peer_notes:
        print(f"Not compared: {note}")
    failed = False
    for kind, ratio in required.items():
        if kind not in worst:
            print(f"FAIL {kind}: no case of ours pairs with a peer's")
            failed = True
        elif worst[kind] < ratio:
            print(f"FAIL {kind}: {worst[kind]:.2f} times the fastest peer, required {ratio:g}")
            failed = True
        else:
            print(f"ok {kind}: {worst[kind]:.2f} times the fastest peer, required {ratio:g}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
