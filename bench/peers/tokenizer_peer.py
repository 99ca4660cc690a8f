#!/usr/bin/env python3
"""Encoding speed of the Python package `tokenizers` (Rust), one thread, on the texts of tokenizer_bench.

    python tokenizer_peer.py TOKENIZER.json TEXT.jsonl [...] [--seconds S] [--ours build/.../tokenizer_bench]

One JSON line; with --ours also our line and the ratio. Both count this thread's CPU time. The peer is given its
fastest call: the better of encode() text by text and encode_batch_fast() on one thread.
"""
import argparse
import json
import os
import subprocess
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"


def texts_of(files):
    out = []
    for name in files:
        with open(name, encoding="utf-8") as f:
            for line in f:
                if line.strip():
                    row = json.loads(line)
                    out += [row[key] for key in sorted(row) if isinstance(row[key], str)]
    return out


def measure(encode, seconds):
    first = best = None
    total, passes = 0.0, 0
    while passes < 2 or total < seconds:
        start = time.process_time()
        encode()
        took = time.process_time() - start
        total, passes = total + took, passes + 1
        first = took if first is None else first
        best = took if best is None else min(best, took)
    return first, best


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("tokenizer"), ap.add_argument("texts", nargs="+")
    ap.add_argument("--seconds", type=float, default=2), ap.add_argument("--ours", help="the program tokenizer_bench")
    args = ap.parse_args()
    try:
        import tokenizers
    except ImportError:
        print(json.dumps({"case": "tokenizer_encode", "program": "tokenizers", "skipped": "not installed"}))
        return
    texts = texts_of(args.texts)
    size = sum(len(t.encode()) for t in texts)
    start = time.process_time()
    tok = tokenizers.Tokenizer.from_file(args.tokenizer)
    load = time.process_time() - start
    calls = {"encode": lambda: [tok.encode(t, add_special_tokens=False) for t in texts]}
    if hasattr(tok, "encode_batch_fast"):
        calls["encode_batch_fast"] = lambda: tok.encode_batch_fast(texts, add_special_tokens=False)
    speeds = {name: [size * 1e-6 / s for s in measure(call, args.seconds)] for name, call in calls.items()}
    name = max(speeds, key=lambda k: speeds[k][1])
    count = sum(len(tok.encode(t, add_special_tokens=False).ids) for t in texts)
    peer = {"case": "tokenizer_encode", "program": "tokenizers", "version": tokenizers.__version__, "call": name, "tokenizer": args.tokenizer,
            "texts": len(texts), "bytes": size, "tokens": count, "mb_per_s": round(speeds[name][1], 2),
            "mb_per_s_first_pass": round(speeds["encode"][0], 2), "load_s": round(load, 3)}
    print(json.dumps(peer))
    if args.ours:
        ours = json.loads(subprocess.run([args.ours, args.tokenizer, *args.texts, "--seconds", str(args.seconds)], check=True, capture_output=True, text=True).stdout)
        print(json.dumps(ours))
        if ours["tokens"] != count:
            sys.exit(f"the token counts differ: {ours['tokens']} and {count}")
        print(json.dumps({"case": "tokenizer_encode", "ratio": round(ours["mb_per_s"] / peer["mb_per_s"], 2),
                          "ratio_first_pass": round(ours["mb_per_s_first_pass"] / peer["mb_per_s_first_pass"], 2)}))


main()
