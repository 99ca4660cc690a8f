"""Cuts two small run folders for report_test out of real ones.

  r1 train recipes/quickstart.yaml model.path=TINY rl.steps=12 rl.prompts_per_rollout=8 rl.learning_rate=1e-3 rl.updates_per_rollout=2 \
     rl.kl.coefficient=0.001 rollout.max_new_tokens=12 rollout.samples_per_prompt=4 'rewards+={name: length, weight: 0.1, max: 12}' \
     eval.generate.n=12 eval.every=4 output.samples_every=3 seed=SEED output.dir=seedSEED          # TINY: a random llama of 3M parameters
  python3 make_fixture.py SEED0 SEED1 OUT

Keeps every metric record, 2 prompts of each file of transcripts, and no name of a machine. The first run gets its last completion and one
disagreement by hand (a random model reflects on nothing): marked "by hand" in their ids.
"""
import json
import os
import re
import sys


def rows(path):
    return [json.loads(line) for line in open(path)]


def write(path, items):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        for item in items:
            f.write(json.dumps(item, ensure_ascii=False) + "\n")


def first_prompts(items, key):
    ids = list(dict.fromkeys(i[key] for i in items))[:2]
    return [i for i in items if i[key] in ids]


def cut(source, out, number):
    write(f"{out}/metrics.jsonl", rows(f"{source}/metrics.jsonl"))
    yaml = open(f"{source}/config.yaml").read()
    yaml = re.sub(r"path: .*", "path: models/tiny", yaml, count=1)
    yaml = re.sub(r"dir: .*", f"dir: runs/seed{number}", yaml)
    open(f"{out}/config.yaml", "w").write(yaml)
    start = json.load(open(f"{source}/environment.json"))["starts"][0]
    start.update(host="example", system="Linux", command_line=f"r1 train recipes/quickstart.yaml seed={number}")
    json.dump({"starts": [start]}, open(f"{out}/environment.json", "w"), indent=1)
    open(f"{out}/finished", "w").write(open(f"{source}/finished").read())
    for name in sorted(os.listdir(f"{source}/samples")):
        write(f"{out}/samples/{name}", first_prompts(rows(f"{source}/samples/{name}"), "prompt_id"))
    for name in sorted(os.listdir(f"{source}/eval")):
        write(f"{out}/eval/{name}", first_prompts(rows(f"{source}/eval/{name}"), "id"))
    if number:
        return
    last = sorted(os.listdir(f"{out}/eval"))[-1]
    items = rows(f"{out}/eval/{last}")
    items.append({"step": items[0]["step"], "id": "by hand", "prompt": "user\nWhat is 2 + 2?\n", "reference": "4", "greedy_correct": True, "samples": 1, "correct": 1,
                  "completions": [{"text": "4", "tokens": 2, "stop": "eos", "verdict": "ok", "detail": "", "reward": 1.0},
                                  {"text": "<b>Wait</b>, let me check: 2 + 2 & 2 is more than four. 重新检查一下这个答案，四是正确的。", "tokens": 30, "stop": "eos",
                                   "verdict": "ok", "detail": "", "reward": 1.0}]})
    write(f"{out}/eval/{last}", items)
    write(f"{out}/audit/disagreements.jsonl", [{
        "step": 11, "rollout": 5, "prompt_id": "by hand", "sample": 0, "kind": "false_positive", "prompt": "What is 12 + 30?", "reference": "42",
        "completion": "41 or 42", "stop": "eos", "reward": {"value": 1.0, "claim": 1.0, "verdict": "ok", "detail": "", "gold": "42", "answer": "42", "parts": {"math": 1.0}},
        "audit": {"verdict": "wrong", "why": "two answers", "gold": "42", "answer": "41"}}])


if __name__ == "__main__":
    for number in (0, 1):
        cut(sys.argv[1 + number], f"{sys.argv[3]}/seed{number}", number)
