#!/usr/bin/env python3
"""`r1 eval` against a small OpenAI-compatible server of this test, and its commands that need no model.

usage: eval_url_test.py R1_PROGRAM [-v]
"""
import http.server
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time
import unittest

R1 = str(pathlib.Path(sys.argv.pop(1)).resolve())
ROOT = pathlib.Path(__file__).resolve().parents[2]


class Server(http.server.ThreadingHTTPServer):
    """Doubles the number in a question, in a box; a wrong one for every question that says "hard"."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests, self.fail_first, self.refuse_after, self.lock = [], 0, None, threading.Lock()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            status = 200
            if server.fail_first > 0:
                server.fail_first, status = server.fail_first - 1, 503
            elif server.refuse_after is not None and len(server.requests) >= server.refuse_after:
                status = 401
            else:
                server.requests.append({"path": self.path, "key": self.headers.get("Authorization"), "body": body})
        question = body["prompt"] if "prompt" in body else next(m["content"] for m in body["messages"] if m["role"] == "user")
        number = int(re.search(r"twice (\d+)", question).group(1))
        text = f"So \\boxed{{{2 * number + ('hard' in question)}}}."
        choice = {"text": text, "finish_reason": "stop"} if "prompt" in body else {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        if body["messages"][-1]["role"] == "assistant" if "messages" in body else False:
            choice["message"]["content"] = "two times</think>" + text
        reply = json.dumps({"choices": [choice], "usage": {"completion_tokens": 5}} if status == 200 else {"error": "no"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)


class EvalTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.dir = pathlib.Path(self.folder.name)
        self.server = Server()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        (self.dir / "svamp_test.jsonl").write_text("".join(json.dumps({"question": f"What is twice {i}?" + (" It is hard." if i % 5 == 0 else ""), "final": str(2 * i)}) + "\n" for i in range(1, 11)))

    def run_r1(self, *args, code=0, **env):
        done = subprocess.run([R1, "-q", "eval", *map(str, args)], capture_output=True, text=True, env={**os.environ, **env}, cwd=self.dir, timeout=120)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout if code == 0 else done.stderr

    def url_args(self, *more):
        return ["-m", self.server.url, "--served-model", "fake", "-b", "svamp", *more]

    def test_benchmark_over_chat(self):
        self.server.fail_first = 3
        out = json.loads(self.run_r1(*self.url_args("--think", "--samples", 4, "--k", "2,4", "--json", "--api-key-env", "MY_KEY", "--system", "Be short."), MY_KEY="secret"))
        part = out["benchmarks"]["svamp"]["sampled"]
        self.assertEqual((part["items"], part["completions"], part["mean_tokens"]), (10, 40, 5.0))
        for grading in ("strict", "lenient"):
            self.assertEqual(part[grading]["pass@1"], 0.8)
            self.assertEqual(part[grading]["cons@4"], 0.8)
        self.assertEqual(len(self.server.requests), 40)
        seen = self.server.requests[0]
        self.assertEqual((seen["path"], seen["key"]), ("/v1/chat/completions", "Bearer secret"))
        body = seen["body"]
        self.assertEqual([m["role"] for m in body["messages"]], ["system", "user", "assistant"])
        self.assertEqual(body["messages"][2]["content"], "<think>\n")
        self.assertAlmostEqual(body["temperature"], 0.6, places=6)
        self.assertAlmostEqual(body["top_p"], 0.95, places=6)
        self.assertEqual(body["max_tokens"], 2048)
        seeds = {(r["body"]["messages"][1]["content"], r["body"]["seed"]) for r in self.server.requests}
        self.assertEqual(len(seeds), 40)

    def test_greedy_over_completions(self):
        out = json.loads(self.run_r1(*self.url_args("--api", "completions", "--protocol", "greedy", "--json")))
        self.assertEqual(out["benchmarks"]["svamp"]["greedy"]["strict"]["pass@1"], 0.8)
        self.assertEqual(self.server.requests[0]["path"], "/v1/completions")
        self.assertEqual(self.server.requests[0]["body"]["temperature"], 0)

    def test_file_of_problems(self):
        (self.dir / "mine.jsonl").write_text('{"prompt": "twice 4", "answer": "8"}\n{"prompt": "hard, twice 4", "answer": "8"}\n')
        out = json.loads(self.run_r1("-m", self.server.url, "--served-model", "fake", "-d", "mine.jsonl", "--json"))
        self.assertEqual(out["benchmarks"]["mine"]["greedy"]["strict"]["pass@1"], 0.5)

    def test_refusal_then_resume(self):
        self.server.refuse_after = 7
        error = self.run_r1(*self.url_args("--samples", 2, "-o", "out"), code=1)
        self.assertIn("HTTP 401", error)
        self.server.refuse_after = None
        self.run_r1(*self.url_args("--samples", 2, "-o", "out"))
        self.assertEqual(len(self.server.requests), 20)
        self.run_r1(*self.url_args("--samples", 2, "-o", "whole"))
        for name in ("svamp.samples.jsonl", "svamp.items.jsonl", "svamp.settings.json"):
            self.assertEqual((self.dir / "out" / name).read_bytes(), (self.dir / "whole" / name).read_bytes())
        self.assertIn("served_model was \"fake\", is \"other\"", self.run_r1("-m", self.server.url, "--served-model", "other", "-b", "svamp", "--samples", 2, "-o", "out", code=2))
        # A model against itself: no difference, every p is 1.
        compared = json.loads(self.run_r1("-m", "out", "--compare", "whole", "--json"))
        self.assertEqual({(c["difference"], c["p_permutation"]) for c in compared["comparisons"]}, {(0.0, 1.0)})

    def test_ctrl_c_keeps_what_was_answered(self):
        original = Handler.do_POST

        def slow(handler):
            time.sleep(0.05)
            original(handler)

        Handler.do_POST = slow
        self.addCleanup(setattr, Handler, "do_POST", original)
        call = subprocess.Popen([R1, "-q", "eval", *map(str, self.url_args("--samples", 8, "--concurrency", 2, "-o", "out"))], cwd=self.dir, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while len(self.server.requests) < 6:
            time.sleep(0.01)
        call.send_signal(2)
        _, error = call.communicate(timeout=60)
        self.assertEqual(call.returncode, 130, error)
        kept = len((self.dir / "out" / "svamp.samples.jsonl").read_text().splitlines())
        self.assertGreaterEqual(kept, 5)
        self.assertLess(kept, 80)
        Handler.do_POST = original
        self.run_r1(*self.url_args("--samples", 8, "--concurrency", 2, "-o", "out"))
        self.assertEqual(len((self.dir / "out" / "svamp.samples.jsonl").read_text().splitlines()), 80)

    def test_what_needs_no_model(self):
        table = self.run_r1("--completions", ROOT / "tests/golden/lm_eval_samples.jsonl", "-b", "gsm8k", "-o", "graded")
        self.assertRegex(table, r"strict-match +strict +28")
        self.assertTrue((self.dir / "graded" / "gsm8k.samples.jsonl").exists())
        (self.dir / "contests.jsonl").write_text('{"contest": 1, "ratings": [1500, 1500, 1500], "rank": 2, "tied": 1}\n{"contest": 2, "ratings": [1500], "rank": 1, "tied": 1}\n')
        self.assertAlmostEqual(json.loads(self.run_r1("--elo", "contests.jsonl", "--json"))["rating"], 1500, places=3)
        listed = self.run_r1("--list")
        for name in ("gsm8k", "math500", "gpqa_diamond", "livecodebench", "ifeval"):
            self.assertIn(name, listed)
        # What --show prints is a benchmark file of one's own.
        (self.dir / "mine.yaml").write_text(self.run_r1("--show", "svamp").replace("name: svamp", "name: mine"))
        out = json.loads(self.run_r1("-m", self.server.url, "--served-model", "fake", "-b", "./mine.yaml", "--samples", 1, "--json"))
        self.assertEqual(out["benchmarks"]["mine"]["sampled"]["strict"]["pass@1"], 0.8)

    def test_errors(self):
        for part, args in (("MY_KEY is not set", self.url_args("--api-key-env", "MY_KEY")),
                           ("does not fit", self.url_args("--api", "completions", "--template", "chat")),
                           ("--rewards has no effect", self.url_args("--rewards", "math")),
                           ("use --protocol greedy", self.url_args("--temperature", 0)),
                           ("needs at least 9 samples", self.url_args("--samples", 2, "--k", 9)),
                           ("none of its files", self.url_args("-d", self.dir / "graded_nowhere") if (self.dir / "graded_nowhere").mkdir() is None else []),
                           ("name a benchmark", ["-m", self.server.url, "--served-model", "x"])):
            self.assertIn(part, self.run_r1(*args, code=2))
        self.assertEqual(len(self.server.requests), 0)


unittest.main()
