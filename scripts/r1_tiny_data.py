#!/usr/bin/env python3
"""Data of recipes/r1_tiny.yaml: two-digit additions and GSM8K as prompts with answers, worked chains in think tags for the cold start, general
texts, prompts and pairs. Python's own library only; the same bytes on every machine.

usage: scripts/r1_tiny_data.py --gsm8k FOLDER --pairs FILE [--out data/r1_tiny] [--r1 build/release/bin/r1]
  FOLDER holds train.jsonl and test.jsonl (or test_first_half.jsonl) with question and answer ("... #### 72"); FILE rows with messages, chosen
  and rejected."""
import argparse
import json
import pathlib
import random
import re
import subprocess
import sys


def read(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def write(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    print(f"{path}: {len(rows):,} rows")


def additions(r1, split, n):
    """Different sums; those of the splits never meet."""
    text = subprocess.run([r1, "data", "add", "--level", "2", "--split", split, "--n", str(4 * n), "--worked"], capture_output=True, text=True, check=True).stdout
    rows = {}
    for line in text.splitlines():
        row = json.loads(line)
        rows.setdefault(row["prompt"], row)
    assert len(rows) >= n, (split, len(rows))
    return list(rows.values())[:n]


def chain(question, working, answer):
    """A question and its solution in R1's form: the working in think tags, then a line for the reader."""
    text = f"<think>\n{working}\n</think>\nThe answer is \\boxed{{{answer}}}."
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": text}]}


def solution(row):
    """GSM8K's worked solution without its calculator marks and its last line, and the number on that line."""
    working, answer = re.sub(r"<<[^>]*>>", "", row["answer"]).rsplit("####", 1)
    return working.strip(), answer.strip().replace(",", "")


def problem(name, i, question, answer):
    """The language stands in a column: it cannot be told from the few words of a sum."""
    return {"id": f"{name}-{i}", "task": "math", "language": "en", "prompt": question, "answer": answer}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--gsm8k", required=True, type=pathlib.Path)
    p.add_argument("--pairs", required=True, type=pathlib.Path)
    p.add_argument("--out", default="data/r1_tiny", type=pathlib.Path)
    p.add_argument("--r1", default="build/release/bin/r1")
    a = p.parse_args()
    test_file = next((f for f in (a.gsm8k / "test.jsonl", a.gsm8k / "test_first_half.jsonl") if f.exists()), None)
    for file in (a.gsm8k / "train.jsonl", a.pairs):
        if not file.exists():
            sys.exit(f"{file} is not there (--gsm8k names a folder with train.jsonl and test.jsonl, --pairs a file)")
    if test_file is None:
        sys.exit(f"{a.gsm8k} holds no test.jsonl and no test_first_half.jsonl")
    a.out.mkdir(parents=True, exist_ok=True)
    train, test, pairs = read(a.gsm8k / "train.jsonl"), read(test_file)[:660], read(a.pairs)
    sums = additions(a.r1, "train", 1750)
    rng = random.Random(0)
    rng.shuffle(train)
    # The cold start's rows are in no RL prompt: what RL and rejection sampling add is not what was shown.
    shown, asked = train[:2500], train[2500:7300]
    cold = [chain(r["question"], *solution(r)) for r in shown] + [chain(r["prompt"], r["completion"], r["answer"]) for r in sums[:150]]
    rng.shuffle(cold)
    prompts = [problem("gsm8k", r["index"], r["question"], solution(r)[1]) for r in asked]
    prompts += [problem("add", i, r["prompt"], r["answer"]) for i, r in enumerate(sums[150:])]
    rng.shuffle(prompts)
    write(a.out / "cold_start.jsonl", cold)
    write(a.out / "prompts.jsonl", prompts)
    write(a.out / "gsm8k_test.jsonl", [problem("gsm8k-test", r["index"], r["question"], solution(r)[1]) for r in test])
    write(a.out / "add2_test.jsonl", [problem("add-test", i, r["prompt"], r["answer"]) for i, r in enumerate(additions(a.r1, "test", 300))])
    write(a.out / "pairs.jsonl", [{k: r[k] for k in ("messages", "chosen", "rejected")} for r in pairs])
    write(a.out / "general.jsonl", [{"messages": r["messages"] + [{"role": "assistant", "content": r["chosen"]}]} for r in pairs])
    write(a.out / "general_prompts.jsonl", [{"id": f"general-{i}", "task": "chat", "language": "en", "prompt": r["messages"]} for i, r in enumerate(pairs)])


main()
