#!/usr/bin/env python3
"""Makes lm_eval_samples.jsonl with lm-evaluation-harness itself: completions that we wrote, graded by its filters.

The rows are ours, in the form of GSM8K; the task has the filters of its gsm8k task (its own downloads). A model class
replays the completions, so that nothing is sampled.

    pip install lm-eval==0.4.13
    python tests/golden/lm_eval_samples.py                    # the fixture, beside itself
    python tests/golden/lm_eval_samples.py ROWS.jsonl OUT     # other rows: question, answer, completion
"""
import json
import pathlib
import shutil
import sys
import tempfile

import lm_eval
from lm_eval.api.model import LM
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager

HERE = pathlib.Path(__file__).parent
TASK = (HERE / "lm_eval_gsm8k.yaml").read_text().replace("PROMPT", r"Question: {{question}}\nAnswer:").replace("UNTIL", '["Question:", "</s>"]').replace("LENGTH", "")

# (gold, completion, what it is about)
CASES = [
    (18, " She sells 9 eggs at $2 each, 9 * 2 = 18.\n#### 18"),
    (18, " 9 * 2 = $18\n#### $18"),  # a dollar sign stops their strict pattern
    (18, " She makes 18 dollars every day."),
    (18, " The answer is 18."),
    (18, " 9 * 2 = 18, so the answer is \\boxed{18}."),
    (18, " #### 18."),
    (18, " #### 18.00"),  # equal as a number, not as their text
    (18, " #### 81"),
    (18, " #### 18\n\nThat is all."),
    (1234, " 1000 + 234 = 1,234\n#### 1,234"),
    (1234, " It is 1234 pages."),
    (-7, " 5 - 12 = -7\n#### -7"),
    (-7, " It drops to -7 degrees."),
    (70000, " He makes $70,000.\n#### 70,000"),
    (70000, " He makes 70000 dollars in 3 years."),  # the last number is another one
    (3, " One half of 6 is 3\n#### 3"),
    (3, " I do not know."),
    (3, ""),
    (5, " 2 + 3 = 5\n#### 5 apples"),
    (5, " First 2, then 3: **5**"),
    (5, " x = 5\n####5"),  # no space behind the marks
    (40, " 40% of 100 is 40\n#### 40"),
    (40, " #### 40\n#### 41"),  # two marks: theirs takes the first, ours the last
    (12, " A dozen is 12. #### 12"),
    (0, " Nothing is left: 0\n#### 0"),
    (150, " 1.5 * 100 = 150\n#### 150"),
    (25, " #### 24"),
    (64, " 8 * 8 = 64 square feet\n#### 64"),
]


class Replay(LM):
    def __init__(self, completions):
        super().__init__()
        self.completions = completions

    def generate_until(self, requests, disable_tqdm=False):
        return [self.completions[r.doc["question"]] for r in requests]

    def loglikelihood(self, requests):
        raise NotImplementedError

    def loglikelihood_rolling(self, requests):
        raise NotImplementedError


def run(rows, out):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "rows.jsonl").write_text("".join(json.dumps({"question": r["question"], "answer": r["answer"]}) + "\n" for r in rows))
        (folder / "local_gsm8k.yaml").write_text(TASK.replace("ROWS", str(folder / "rows.jsonl")))
        model = Replay({r["question"]: r["completion"] for r in rows})
        results = lm_eval.simple_evaluate(model=model, tasks=["local_gsm8k"], task_manager=TaskManager(include_path=str(folder), include_defaults=False), log_samples=True, bootstrap_iters=0)
        tracker = EvaluationTracker(output_path=str(folder / "log"))
        tracker.general_config_tracker.model_name_sanitized = "replay"
        tracker.date_id = "2026"
        tracker.save_results_samples("local_gsm8k", results["samples"]["local_gsm8k"])
        shutil.copy(next((folder / "log").rglob("samples_*.jsonl")), out)
    print({k: round(v, 4) for k, v in results["results"]["local_gsm8k"].items() if isinstance(v, float)})


if len(sys.argv) == 3:
    run([json.loads(line) for line in open(sys.argv[1])], sys.argv[2])
else:
    run([{"question": f"Question {i}: which number is it?", "answer": f"Our own row.\n#### {gold}", "completion": text} for i, (gold, text) in enumerate(CASES)], HERE / "lm_eval_samples.jsonl")
