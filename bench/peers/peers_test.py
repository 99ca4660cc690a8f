"""Tests of the parts of these scripts that need no peer: python -m unittest peers_test (standard library only)."""

import contextlib
import io
import json
import os
import sys
import tempfile
import unittest
from unittest import mock

import common
import compare
import reference_grpo

OURS = [
    {"case": "rollout_b1", "batch": 1, "prompt_tokens": 64, "new_tokens": 64, "tokens_per_s": 120.0, "threads": 2},
    {
        "case": "grpo",
        "prompts": 4,
        "samples": 8,
        "prompt_tokens": 64,
        "new_tokens": 64,
        "step_s": 5.0,
        "train_s": 4.0,
    },
]
PEERS = [
    {
        "case": "hf_generate",
        "kind": "rollout",
        "peer": "transformers",
        "batch": 1,
        "prompt_tokens": 64,
        "new_tokens": 64,
        "tokens_per_s": 30.0,
        "threads": 2,
    },
    {
        "case": "hf_generate",
        "kind": "rollout",
        "peer": "transformers",
        "batch": 1,
        "prompt_tokens": 64,
        "new_tokens": 64,
        "tokens_per_s": 1000.0,
        "threads": 1,
    },
    {
        "case": "trl_grpo",
        "kind": "grpo",
        "peer": "trl",
        "batch": 32,
        "prompt_tokens": 64,
        "new_tokens": 64,
        "step_s": 30.0,
        "train_s": 20.0,
    },
    {"case": "llama_decode", "skipped": "not installed"},
]


def run_compare(ours, peers, *options):
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, rows in (("ours", ours), ("peers", peers)):
            paths.append(os.path.join(folder, name))
            with open(paths[-1], "w", encoding="utf-8") as f:
                f.write("a log line\n" + "".join(json.dumps(r) + "\n" for r in rows))
        out = io.StringIO()
        with mock.patch.object(sys, "argv", ["compare.py", "--ours", paths[0], "--peers", paths[1], *options]):
            with contextlib.redirect_stdout(out):
                code = compare.main()
        return code, out.getvalue()


class Compare(unittest.TestCase):
    def test_ratios_are_speed_ours_over_peer(self):
        code, text = run_compare(OURS, PEERS)
        self.assertEqual(code, 0)
        self.assertIn("| 120.0 tok/s | transformers | 30.0 tok/s | 4.00 |", text)
        self.assertIn("| 5.00 s/step | trl | 30.00 s/step | 6.00 |", text)
        self.assertIn("| 1024 tok/s | trl | 205 tok/s | 5.00 |", text)  # 32 x 128 tokens in 4 s and in 20 s
        self.assertIn("not installed", text)

    def test_other_thread_counts_do_not_pair(self):
        self.assertNotIn("1000", run_compare(OURS, PEERS)[1])

    def test_require(self):
        self.assertEqual(run_compare(OURS, PEERS, "--require", "grpo=6")[0], 0)
        self.assertEqual(run_compare(OURS, PEERS, "--require", "grpo=6.1")[0], 1)
        self.assertEqual(run_compare(OURS, PEERS[:2], "--require", "grpo=1")[0], 1)
        mixed = [dict(p, dtype="mixed") for p in PEERS]
        self.assertEqual(run_compare(OURS, mixed, "--require", "grpo/mixed=6")[0], 0)
        self.assertEqual(run_compare(OURS, mixed, "--require", "grpo/mixed=6.1")[0], 1)
        self.assertEqual(run_compare(OURS, mixed, "--require", "grpo/float8=1")[0], 1)

    def test_busy_machine_is_said(self):
        busy = [dict(PEERS[0], others_cores=1.5)]
        self.assertIn("other processes used up to 1.5 cores", run_compare(OURS, busy)[1])


class Reference(unittest.TestCase):
    def test_reward_is_the_last_number_and_an_end(self):
        self.assertEqual(reference_grpo.reward("37 + 45 = 82.", True, "82"), 1.0)
        self.assertEqual(reference_grpo.reward("37 + 45 = 82.", False, "82"), 0.0)
        self.assertEqual(reference_grpo.reward("82 is 37 + 45", True, "82"), 0.0)
        self.assertEqual(reference_grpo.reward("1,082.0", True, "1082"), 1.0)
        self.assertEqual(reference_grpo.reward("no idea", True, "82"), 0.0)

    def test_distinct_rows(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "rows")
            with open(path, "w", encoding="utf-8") as f:
                f.write("".join(json.dumps({"prompt": p, "answer": "1"}) + "\n" for p in "abac"))
            self.assertEqual([r["prompt"] for r in reference_grpo.read_rows(path, 3)], ["a", "b", "c"])
            with self.assertRaises(SystemExit):
                reference_grpo.read_rows(path, 4)


class Common(unittest.TestCase):
    def test_prompts_have_the_length_asked(self):
        class Words:  # one id a word
            def __init__(self):
                self.names = []

            def __call__(self, text, add_special_tokens=True):
                for word in text.split():
                    if word not in self.names:
                        self.names.append(word)
                return {"input_ids": [self.names.index(w) for w in text.split()]}

            def decode(self, ids):
                return " ".join(self.names[i] for i in ids)

        texts = common.prompt_texts(Words(), 3, 64)
        self.assertEqual([len(t.split()) for t in texts], [64, 64, 64])
        self.assertEqual(len(set(texts)), 3)

    def test_summary(self):
        fields = common.summary([(3.0, 1.0, 0.1), (1.0, 2.0, 0.0), (2.0, 9.0, 0.7)])
        self.assertEqual((fields["median_s"], fields["min_s"], fields["cpu_median_s"]), (2.0, 1.0, 2.0))
        self.assertEqual(fields["others_cores"], 0.7)

    def test_disturbed_runs_are_made_again_while_patience_lasts(self):
        busy, calls = iter([0.0, 0.0, 0.0, 1.5, 0.0, 0.02]), []  # wait, warm up, wait, run, wait, run
        with (
            mock.patch.object(common.OthersMeter, "cores", lambda self: next(busy)),
            mock.patch.object(common.time, "sleep", lambda s: None),
        ):
            common.OthersMeter().cores()
            out = common.timed_runs(lambda: calls.append(1), runs=1, patience=60)
        self.assertEqual([run[2] for run in out], [0.02])
        self.assertEqual(len(calls), 3)

    def test_out_of_patience_keeps_the_least_disturbed(self):
        past = 0.0
        runs = [(1.0, 1.0, 1.5), (2.0, 1.0, 0.3), (3.0, 1.0, 0.1)]
        self.assertFalse(common.enough(runs[:1], 2, past))
        self.assertTrue(common.enough(runs, 2, past))
        self.assertEqual([r[0] for r in common.least_disturbed(runs, 2)], [3.0, 2.0])


if __name__ == "__main__":
    unittest.main()
