#!/usr/bin/env python3
"""Cross-validation of a reward model: folds by question, all right/wrong combinations of a question's solutions, pooled accuracy with an
interval over questions.

  scripts/reward_model_folds.py solutions.jsonl --out runs/rm_folds                # rows {index, question, solution, is_correct}
  scripts/reward_model_folds.py --arithmetic 1200 --folds 1 --out runs/rm_chains    # worked additions, one wrong step in each bad one
  scripts/reward_model_folds.py solutions.jsonl --out runs/rm_folds --only 0,1      # a part of the folds; the table covers what is there

Each fold is `r1 train recipes/reward_model.yaml` with its own data; further arguments after -- go to it as they are (train.threads=8).
Finished folds are skipped, interrupted ones go on. With --folds 1 a fifth of the questions is held out once.
"""
import argparse
import collections
import json
import pathlib
import random
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def solution_pairs(path):
    """One pair for each right and each wrong solution of a question."""
    by = collections.defaultdict(lambda: {True: [], False: []})
    for line in open(path, encoding="utf-8"):
        row = json.loads(line)
        by[row["index"], row["question"]][bool(row["is_correct"])].append(row["solution"])
    return [{"question": index, "prompt": question, "chosen": right, "rejected": wrong}
            for (index, question), both in sorted(by.items()) for right in both[True] for wrong in both[False]]


def arithmetic_pairs(r1, n, seed):
    """Worked additions of three digits against such with one wrong step, by the program itself."""
    made = subprocess.run([r1, "data", "add", "--level", "3", "--pairs", "--n", str(n), "--seed", str(seed)], check=True, capture_output=True, text=True)
    rows = [json.loads(line) for line in made.stdout.splitlines()]
    return [{"question": row["prompt"], "prompt": row["prompt"], "chosen": row["chosen"], "rejected": row["rejected"]} for row in rows]


def fold_of(questions, folds, seed):
    order = sorted(questions)
    random.Random(seed).shuffle(order)
    return {q: i % folds for i, q in enumerate(order)}


def write_rows(path, pairs):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(p, ensure_ascii=False) + "\n" for p in pairs)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def interval(by_question, draws=2000):
    """95 % of the pooled accuracy, questions drawn with replacement (their pairs stay together)."""
    rng = random.Random(0)
    questions = sorted(by_question)
    means = []
    for _ in range(draws):
        drawn = [by_question[rng.choice(questions)] for _ in questions]
        means.append(sum(r for r, _ in drawn) / sum(n for _, n in drawn))
    means.sort()
    return means[int(0.025 * draws)], means[int(0.975 * draws) - 1]


def report(name, verdicts):
    """verdicts: (question, right)."""
    by_question = collections.defaultdict(lambda: [0, 0])
    for question, right in verdicts:
        by_question[question][0] += right
        by_question[question][1] += 1
    accuracy = sum(right for _, right in verdicts) / len(verdicts)
    low, high = interval(by_question)
    print(f"{name:28s} {100 * accuracy:5.1f} % [{100 * low:.1f}, {100 * high:.1f}]  {len(verdicts)} pairs, {len(by_question)} questions")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("solutions", nargs="?")
    parser.add_argument("--arithmetic", type=int, default=0, help="pairs of made-up chains in place of a file")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--only", default="", help="comma-separated folds to run now")
    parser.add_argument("--out", required=True)
    parser.add_argument("--recipe", default=str(ROOT / "recipes/reward_model.yaml"))
    parser.add_argument("--r1", default=str(ROOT / "build/release/bin/r1"))
    parser.add_argument("--seed", type=int, default=0)
    argv = sys.argv[1:]
    cut = argv.index("--") if "--" in argv else len(argv)
    args, overrides = parser.parse_args(argv[:cut]), argv[cut + 1:]
    if bool(args.solutions) == bool(args.arithmetic):
        parser.error("name a file of solutions, or --arithmetic N")

    pairs = arithmetic_pairs(args.r1, args.arithmetic, args.seed) if args.arithmetic else solution_pairs(args.solutions)
    folds = fold_of({p["question"] for p in pairs}, max(args.folds, 5), args.seed)
    out = pathlib.Path(args.out)
    wanted = [int(f) for f in args.only.split(",")] if args.only else range(args.folds)
    for fold in wanted:
        data = out / f"fold_{fold}"
        write_rows(data / "train.jsonl", [p for p in pairs if folds[p["question"]] != fold])
        write_rows(data / "test.jsonl", [p for p in pairs if folds[p["question"]] == fold])
        subprocess.run([args.r1, "train", args.recipe, f"data.path={data}/train.jsonl", f"validation.path={data}/test.jsonl",
                        f"output.dir={data}/run", f"seed={args.seed + fold}", *overrides], check=True)

    model, start, shorter = [], [], []
    for fold in range(args.folds):
        data = out / f"fold_{fold}"
        evals = sorted((data / "run/eval").glob("step_*.jsonl"))
        if not evals:
            continue
        rows = [json.loads(line) for line in open(data / "test.jsonl", encoding="utf-8")]
        for file, verdicts in ((evals[-1], model), (evals[0], start)):
            for line in open(file, encoding="utf-8"):
                scored = json.loads(line)
                row = rows[int(scored["name"].rsplit(":", 1)[1]) - 1]
                verdicts.append((row["question"], scored["chosen"] > scored["rejected"]))
        shorter += [(r["question"], len(r["chosen"]) < len(r["rejected"])) for r in rows]
        print(f"fold {fold}: {evals[-1].stem}, {len(rows)} pairs")
    report("held-out pairs, all folds", model)
    report("before training", start)
    report("the shorter answer (ties wrong)", shorter)


if __name__ == "__main__":
    main()
