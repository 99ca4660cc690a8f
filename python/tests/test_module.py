"""Tests of the Python package; needs nothing but the package on PYTHONPATH."""

import json
import os
import pickle
import threading
import time
import unittest
import warnings
from concurrent.futures import ThreadPoolExecutor

import r1
import r1.trl
import r1.verl

needs_sandbox = unittest.skipIf(r1.sandbox_problem(), r1.sandbox_problem())

MATH_PAIRS = [
    (r"\frac{\sqrt2}{2}", r"\frac{1}{\sqrt2}"), (r"\{1, 2, 3\}", r"\{3, 2, 1\}"), ("x^2+1", "1+x^2"), ("[1, 2)", "[1, 2]"),
    ("9", "8"), ("1/3", "0.333"), ("5^5^5^5^5", r"\pi"), (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2\\3&5\end{pmatrix}"),
]


class Math(unittest.TestCase):
    def test_answers(self):
        r = r1.verify_math(r"\frac{1}{2}", "0.5")
        self.assertTrue(r)
        self.assertEqual((r.verdict, r.proved, r.gold_parsed), ("equal", True, "1/2"))
        self.assertFalse(r1.verify_math("1/2", "2"))
        self.assertTrue(r1.verify_math("#### 1,234", "1234"))
        self.assertEqual(r1.verify_math("5^5^5^5^5", r"\pi").verdict, "undecided")

    def test_completions(self):
        self.assertTrue(r1.verify_math("72", completion=r"<think>71?</think> so \boxed{72}"))
        self.assertEqual(r1.verify_math("72", completion="no idea").reason, "no_answer")
        self.assertEqual(r1.verify_math("72", completion="72 it is", prefill="<think>\n").reason, "think_not_closed")

    def test_options(self):
        self.assertTrue(r1.verify_math("1/3", "0.333"))
        self.assertFalse(r1.verify_math("1/3", "0.333", rounding_digits=0))
        self.assertFalse(r1.verify_math("1/3", completion=r"\boxed{0.333}", rounding_digits=0))
        for bad in ({"rounding": 3}, {"rounding_digits": "x"}, {"percent": "none"}):
            for how in ({"answer": "1"}, {"completion": "1"}):
                with self.assertRaisesRegex(ValueError, next(iter(bad))):
                    r1.verify_math("1", **how, **bad)

    def test_wrong_calls(self):
        with self.assertRaisesRegex(TypeError, "one of answer"):
            r1.verify_math("1")
        with self.assertRaisesRegex(TypeError, "one of answer"):
            r1.verify_math("1", "1", completion="1")
        with self.assertRaisesRegex(TypeError, "gold is 1, a int"):
            r1.verify_math(1, "1")
        for how in ({"answer": "1"}, {"completion": "1"}):
            with self.assertRaisesRegex(ValueError, "gold"):
                r1.verify_math("", **how)

    def test_half_a_surrogate_pair_is_text(self):
        self.assertFalse(r1.verify_math("1", "\ud83d"))
        self.assertTrue(r1.verify_math("1", completion="\ud83d \\boxed{1}"))


class Format(unittest.TestCase):
    def test_all(self):
        self.assertTrue(r1.check_format("<think>a</think><answer>b</answer>"))
        self.assertTrue(r1.check_format("a</think><answer>b</answer>", prefill="<think>\n"))
        self.assertEqual(r1.check_format("<think>a</think><answer>b</answer>", stop="length").reason, "truncated")
        self.assertTrue(r1.check_format("<think>a</think> b", answer_tag=False))
        self.assertEqual(r1.check_format("<think>a</think>", partial=True).score, 0.5)
        with self.assertRaisesRegex(ValueError, "'never'"):
            r1.check_format("", stop="never")


class Language(unittest.TestCase):
    def test_all(self):
        r = r1.language_consistency("Это предложение написано на русском языке.", "ru")
        self.assertEqual((r.score, r.defined, r.target_words), (1.0, True, 6))
        r = r1.language_consistency("<think>Это предложение написано на русском языке.</think>", "zh")
        self.assertEqual((r.score, r.others), (0.0, {"Cyrl": 6} if "Cyrl" in r.others else {"ru": 6}))
        self.assertFalse(r1.language_consistency("$x$", "en").defined)
        with self.assertRaisesRegex(ValueError, "klingon"):
            r1.language_consistency("x", "klingon")
        with self.assertRaises(TypeError):
            bool(r)


class Code(unittest.TestCase):
    @needs_sandbox
    def test_verdicts(self):
        r = r1.run_code("print(int(input()) * 2)", [{"input": "4\n", "output": "8"}])
        self.assertEqual((r.correct, r.verdict, r.passed, r.total), (True, "accepted", 1, 1))
        r = r1.run_code(completion="```python\ndef f(x): return x\n```", tests=[{"call": "f(1)", "expected": 2}])
        self.assertEqual(r.verdict, "wrong_answer")
        self.assertFalse(r1.run_code(completion="no code", tests=[{"call": "f(1)", "expected": 2}]))
        r = r1.run_code("while True: pass", [{"input": "", "output": ""}], limits={"wall_ms": 300, "cpu_ms": 300})
        self.assertEqual(r.verdict, "time_limit")

    @needs_sandbox
    def test_wrong_calls(self):
        with self.assertRaisesRegex(ValueError, "at least one"):
            r1.run_code("x", [])
        with self.assertRaisesRegex(ValueError, "unknown limit 'seconds'"):
            r1.run_code("x", [{"input": "", "output": ""}], limits={"seconds": 1})
        with self.assertRaisesRegex(TypeError, "one of program"):
            r1.run_code(tests=[{"input": "", "output": ""}])

    @needs_sandbox
    def test_the_lock_is_free_meanwhile(self):
        results = []
        sleeper = "import time; time.sleep(0.5); print(1)"
        t = threading.Thread(target=lambda: results.append(r1.run_code(sleeper, [{"input": "", "output": "1"}])))
        t.start()
        turns = 0
        while t.is_alive():
            turns += 1
            time.sleep(0.01)
        self.assertTrue(results[0].correct)
        self.assertGreater(turns, 5)  # a call that held the lock would let this loop turn once


class Threads(unittest.TestCase):
    def test_sixteen_threads_give_what_one_gives(self):
        thought = "<think>So the sum must be an even number, and we are done.</think><answer>2</answer>"

        def everything(_):
            return (
                [r1.verify_math(g, a) for g, a in MATH_PAIRS],
                [r1.verify_math(g, completion=f"\\boxed{{{a}}}") for g, a in MATH_PAIRS],
                r1.check_format(thought), r1.language_consistency(thought, "en"),
                r1.trl.accuracy_reward(completions=[f"\\boxed{{{a}}}" for _, a in MATH_PAIRS], solution=[g for g, _ in MATH_PAIRS]),
                r1.verl.compute_score("gsm8k", thought, "2"),
            )

        alone = everything(0)
        self.assertEqual([r.correct for r in alone[0]], [True, True, True, False, False, True, False, False])
        self.assertEqual(alone[4], [1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0])
        self.assertEqual(alone[5]["score"], 1.0)
        with ThreadPoolExecutor(16) as pool:
            for other in pool.map(everything, range(160)):
                self.assertEqual(other, alone)

    @needs_sandbox
    def test_programs_in_threads(self):
        def run(i):
            return r1.run_code(f"print({i})", [{"input": "", "output": str(i if i % 3 else -1)}]).verdict

        with ThreadPoolExecutor(16) as pool:
            self.assertEqual(list(pool.map(run, range(32))), ["accepted" if i % 3 else "wrong_answer" for i in range(32)])


class Lock(unittest.TestCase):
    """The interpreter lock is free while a call works, and a call needs no main thread."""

    # Long enough that handing over the lock (5 ms) does not matter.
    THOUGHT = " ".join("So the sum must be an even number, and we are done." for _ in range(16000))

    def work(self):
        return r1.language_consistency(f"<think>{self.THOUGHT}</think>2", "en").score

    def test_a_python_thread_makes_progress_meanwhile(self):
        ticks, stop = [0], threading.Event()

        def count():
            while not stop.is_set():
                ticks[0] += 1
                time.sleep(0.0005)

        other = threading.Thread(target=count)
        other.start()
        most = 0
        for _ in range(20):  # a busy machine may starve the counter for one try
            before = ticks[0]
            self.work()
            most = max(most, ticks[0] - before)
            if most >= 5:
                break
        # A call that held the lock would let the counter turn once or twice, when it returns.
        self.assertGreaterEqual(most, 5)
        stop.set()
        other.join()

    @unittest.skipIf(len(os.sched_getaffinity(0)) < 2, "one core: threads cannot be faster")
    def test_threads_take_less_than_one_after_the_other(self):
        self.work()
        best = 9.0
        for _ in range(8):  # another program may take the cores for one try
            start = time.monotonic()
            for _ in range(4):
                self.work()
            serial = time.monotonic() - start
            start = time.monotonic()
            with ThreadPoolExecutor(2) as pool:
                self.assertEqual(set(pool.map(lambda _: self.work(), range(4))), {1.0})
            best = min(best, (time.monotonic() - start) / serial)
            if best < 0.8:
                break
        self.assertLess(best, 0.9)

    def test_a_worker_thread_without_signals(self):
        """As Ray's and verl's workers call: not from the main thread, where signal.alarm of other checkers fails silently."""
        out = []

        def call():
            self.assertIsNot(threading.current_thread(), threading.main_thread())
            out.append(r1.verify_math("1/2", "0.5").correct)
            out.append(r1.verl.compute_score("gsm8k", r"\boxed{72}", "72")["score"])
            out.append(r1.trl.accuracy_reward(completions=[r"\boxed{2}"], solution=["2"]))
            if not r1.sandbox_problem():
                out.append(r1.run_code("print(1)", [{"input": "", "output": "1"}]).verdict)

        t = threading.Thread(target=call)
        t.start()
        t.join()
        self.assertEqual(out, [True, 1.0, [1.0], "accepted"][: len(out)])
        self.assertGreaterEqual(len(out), 3)


class Documentation(unittest.TestCase):
    def test_everything_public_has_a_docstring(self):
        for module in (r1, r1.trl, r1.verl, r1._core):
            self.assertTrue(module.__doc__, module.__name__)
            for name, thing in vars(module).items():
                mine = getattr(thing, "__module__", "") or ""
                if name.startswith("_") or not callable(thing) or not mine.startswith("r1"):
                    continue
                self.assertTrue((thing.__doc__ or "").strip(), f"{module.__name__}.{name}")
                if isinstance(thing, type):
                    for method, f in vars(thing).items():
                        if callable(f) and not method.startswith("_"):
                            self.assertTrue((f.__doc__ or "").strip(), f"{module.__name__}.{name}.{method}")


class Trl(unittest.TestCase):
    def chat(self, text):
        return [{"role": "assistant", "content": text}]

    def test_plain_and_conversational(self):
        texts, golds = [r"\boxed{2}", r"\boxed{3}", "none"], ["2", "2", "2"]
        self.assertEqual(r1.trl.accuracy_reward(completions=texts, solution=golds), [1.0, 0.0, 0.0])
        chats = [self.chat(t) for t in texts]
        prompts = [[{"role": "user", "content": "1+1?"}]] * 3
        self.assertEqual(r1.trl.accuracy_reward(prompts=prompts, completions=chats, solution=golds), [1.0, 0.0, 0.0])
        parts = [[{"role": "assistant", "content": [{"type": "text", "text": r"\boxed{2}"}]}]]
        self.assertEqual(r1.trl.accuracy_reward(completions=parts, solution=["2"]), [1.0])
        tools = [[{"role": "assistant", "content": None, "tool_calls": []}, {"role": "tool", "content": r"\boxed{9}"},
                  {"role": "assistant", "content": r"\boxed{2}"}]]
        self.assertEqual(r1.trl.accuracy_reward(completions=tools, solution=["2"]), [1.0])

    def test_format(self):
        self.assertEqual(r1.trl.format_reward(completions=["<think>a</think><answer>b</answer>", "b"]), [1.0, 0.0])
        self.assertEqual(r1.trl.think_format_reward(completions=["<think>a</think>b", "<think>a", "</think>"]), [1.0, 0.0, 0.0])
        prefilled = r1.trl.format(answer_tag=False, prefill="<think>\n")
        self.assertEqual(prefilled(prompts=["q"], completions=["a</think>b"]), [1.0])
        self.assertEqual(r1.trl.think_format_reward(prompts=["q <think>"], completions=["a</think>b"]), [1.0])
        thought = [[{"role": "assistant", "reasoning_content": "a", "content": "b"}]]
        self.assertEqual(r1.trl.think_format_reward(completions=thought), [1.0])

    def test_cut_off_completions(self):
        strict = r1.trl.format(eos_token_id=7)
        text = "<think>a</think><answer>b</answer>"
        self.assertEqual(strict(completions=[text, text], completion_ids=[[1, 7], [1, 2]]), [1.0, 0.0])
        with self.assertRaisesRegex(ValueError, "completion_ids"):
            strict(completions=[text])

    def test_language(self):
        text = "<think>So the sum must be an even number, and we are done.</think>2"
        self.assertEqual(r1.trl.language("en")(completions=[text]), [1.0])
        self.assertEqual(r1.trl.language_reward(completions=[text, text], language=["en", "zh"]), [1.0, 0.0])

    def test_other_rewards_by_name(self):
        over = r1.trl.reward("overlong", max_new_tokens=100, cache_tokens=50)
        self.assertEqual(over(completions=["a", "b"], completion_ids=[[1] * 20, [1] * 100])[0], 0.0)
        self.assertLess(over(completions=["a", "b"], completion_ids=[[1] * 20, [1] * 100])[1], 0.0)

    def test_errors_are_said(self):
        with self.assertRaisesRegex(ValueError, "counts tokens"):
            r1.trl.reward("overlong", max_new_tokens=100, cache_tokens=50)(completions=["a"])
        with self.assertRaisesRegex(ValueError, "no column 'solution'; columns: answer"):
            r1.trl.accuracy_reward(completions=["1"], answer=["1"])
        with self.assertRaisesRegex(ValueError, "list of 2"):
            r1.trl.accuracy_reward(completions=["1", "2"], solution=["1"])
        with self.assertRaisesRegex(ValueError, "rounding"):
            r1.trl.accuracy(rounding=1)
        with self.assertRaisesRegex(ValueError, "no_such"):
            r1.trl.reward("no_such")
        seen = {}
        fresh = r1.trl.accuracy()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(2):
                out = fresh(completions=[r"\boxed{1}", r"\boxed{1}"], solution=["", "1"], log_metric=seen.__setitem__)
                self.assertEqual(out, [None, 1.0])
        self.assertEqual(len(caught), 1)
        self.assertIn("1 of 2 completions have no reward, e.g. number 0: no gold answer", str(caught[0].message))
        self.assertEqual(seen, {"accuracy_reward/abstained": 0.5, "accuracy_reward/unparsed": 0.0})

    @needs_sandbox
    def test_code(self):
        good, bad = "```python\ndef f(x): return x + 1\n```", "```python\ndef f(x): return 1\n```"
        # As Arrow gives them: entries of unequal form are filled up with None.
        tests = [{"call": "f(0)", "expected": 1, "input": None, "output": None}, {"call": "f(1)", "expected": 2, "input": None, "output": None}]
        self.assertEqual(r1.trl.code_reward(completions=[good, bad, "none"], tests=[tests] * 3), [1.0, 0.5, 0.0])
        self.assertEqual(r1.trl.code(pay="all")(completions=[good, bad], tests=[json.dumps([{"call": "f(1)", "expected": 2}])] * 2), [1.0, 0.0])
        none = "```python\ndef f(): return None\n```"
        self.assertEqual(r1.trl.code_reward(completions=[none], tests=[[{"call": "f()", "expected": None}]]), [1.0])

    def test_pickled(self):
        again = pickle.loads(pickle.dumps(r1.trl.accuracy(rounding_digits=0)))
        self.assertEqual(again.__name__, "accuracy_reward")
        self.assertEqual(again(completions=[r"\boxed{0.333}"], solution=["1/3"]), [0.0])


class Verl(unittest.TestCase):
    def test_math(self):
        r = r1.verl.compute_score("gsm8k", "so #### 72", "72")
        self.assertEqual((r["score"], r["acc"], r["pred"]), (1.0, True, "72"))
        self.assertEqual(r1.verl.compute_score("gsm8k", "so #### 71", 72)["score"], 0.0)
        self.assertEqual(r1.verl.compute_score("any", r"a</think>\boxed{1}", "1", {"prefill": "<think>"})["score"], 1.0)
        with self.assertRaises(ValueError):
            r1.verl.compute_score("gsm8k", "1", "")

    @needs_sandbox
    def test_code(self):
        program = "```python\nprint(int(input()) + 1)\n```"
        truth = {"inputs": ["1\n", "2\n"], "outputs": ["2\n", "4\n"]}
        for gold in (truth, json.dumps(truth)):
            r = r1.verl.compute_score("apps", program, gold)
            self.assertEqual((r["score"], r["acc"], r["pred"]), (0.5, False, "1/2"))
        self.assertEqual(r1.verl.compute_score("apps", program, truth, pay="all")["score"], 0.0)
        r = r1.verl.compute_score("mine", program, "", {"tests": [{"input": "1", "output": "2"}]})
        self.assertEqual(r["score"], 1.0)
        math_keys = r1.verl.compute_score("gsm8k", "1", "1").keys()
        self.assertEqual(r.keys(), math_keys)  # verl needs equal keys in a batch
        with self.assertRaisesRegex(ValueError, "must be a list"):
            r1.verl.compute_score("apps", program, {"input": "1", "output": "2"})
        with self.assertRaisesRegex(ValueError, "fn_name"):
            r1.verl.compute_score("apps", program, {**truth, "fn_name": "f"})


if __name__ == "__main__":
    unittest.main()
