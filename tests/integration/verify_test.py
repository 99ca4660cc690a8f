#!/usr/bin/env python3
"""r1 verify as a program that talks: verify_test.py PROGRAM [ARGUMENT ...], all of which come before the kind."""
import json
import select
import signal
import subprocess
import sys
import unittest

COMMAND = []
PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}


def start(*arguments):
    return subprocess.Popen(COMMAND + list(arguments), **PIPES)


def talk(lines, *arguments):
    """All lines in, (replies, stderr, exit code) out."""
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    done = subprocess.run(COMMAND + list(arguments), input=text.encode(), capture_output=True, timeout=100)
    return [json.loads(line) for line in done.stdout.decode().splitlines()], done.stderr.decode(), done.returncode


def reply_within(process, seconds):
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    return json.loads(process.stdout.readline()) if ready else None


class Verify(unittest.TestCase):
    def test_a_reply_comes_before_the_next_line_is_sent(self):
        process = start("math")
        for i in range(20):
            process.stdin.write(json.dumps({"id": i, "gold": str(i), "answer": str(i - i % 2)}).encode() + b"\n")
            process.stdin.flush()
            reply = reply_within(process, 20)
            self.assertIsNotNone(reply, f"no reply to line {i + 1}")
            self.assertEqual((reply["id"], reply["correct"]), (i, i % 2 == 0))
        process.stdin.close()
        self.assertEqual(process.wait(20), 0)
        process.stdout.close(), process.stderr.close()

    def test_order_and_ids_of_10000_lines(self):
        n = 10000
        slow = {"gold": "5^{5^{5^{5^5}}}", "answer": "5^{5^{5^{5^5}}}+1"}
        replies, errors, code = talk([{"id": i, **slow} if i % 1000 == 7 else {"id": i, "gold": str(i), "answer": f"{i}.0"} for i in range(n)], "math", "--threads", "4")
        self.assertEqual((code, errors), (0, ""))
        self.assertEqual([r["id"] for r in replies], list(range(n)))
        self.assertTrue(all(r["correct"] for i, r in enumerate(replies) if i % 1000 != 7))
        self.assertFalse(any(r["correct"] for i, r in enumerate(replies) if i % 1000 == 7))

    def test_malformed_lines_are_replies(self):
        replies, errors, code = talk(["{oops", {"id": "a", "gold": "1", "answer": "1"}, "", {"id": "b", "gold": "1"}, '"x"', {"id": {"k": [1]}, "gold": "1", "answer": "1"}], "math")
        self.assertEqual(code, 0)
        self.assertEqual([r.get("line") for r in replies], [1, None, 3, 4, 5, None])
        self.assertEqual([("error" in r, r.get("id")) for r in replies],
                         [(True, None), (False, "a"), (True, None), (True, "b"), (True, None), (False, {"k": [1]})])
        self.assertIn("4 of 6 lines", errors)
        self.assertEqual(talk(["{oops"], "math", "--quiet")[1], "")

    def test_a_huge_line_is_bounded(self):
        replies, _, code = talk([{"id": 1, "gold": "1", "answer": "1" * (2 << 20)}, {"id": 2, "gold": "1", "answer": "1"}], "math", "--max-line-mb", "1")
        self.assertEqual(code, 0)
        self.assertIn("longer than 1048576 bytes", replies[0]["error"])
        self.assertEqual(replies[1]["id"], 2)

    def test_format_and_language(self):
        replies, _, _ = talk([{"completion": "<think>a</think><answer>b</answer>"}, {"completion": "b"}], "format")
        self.assertEqual([r["score"] for r in replies], [1, 0])
        replies, _, _ = talk([{"completion": "먼저 숫자를 더하고 그리고 나서 답을 구합니다", "language": "ko"}], "language")
        self.assertEqual(replies[0]["score"], 1)

    def test_code(self):
        test = [{"input": "2\n", "output": "4"}]
        lines = [{"id": 0, "program": "import time; time.sleep(0.3); print(2 * int(input()))", "tests": test},
                 {"id": 1, "completion": "```python\nprint(5)\n```", "tests": test},
                 {"id": 2, "program": "while True: pass", "tests": test, "limits": {"cpu_ms": 200, "wall_ms": 3000}}, {"id": 3, "tests": test}]
        replies, errors, code = talk(lines, "code", "--threads", "3")
        if code == 1 and not replies:  # this host cannot isolate: it must say so and run nothing
            self.assertIn("error", errors)
            return
        self.assertEqual([(r["id"], r.get("verdict")) for r in replies], [(0, "accepted"), (1, "wrong_answer"), (2, "time_limit"), (3, None)])
        self.assertEqual(set(replies[0]), {"id", "correct", "verdict", "passed", "total", "cpu_ms", "wall_ms", "memory_kb", "reason"})

    def test_it_ends_when_nobody_reads(self):
        process = start("math")
        process.stdin.write(b'{"gold":"1","answer":"1"}\n')
        process.stdin.flush()
        self.assertIsNotNone(reply_within(process, 20))
        process.stdout.close()
        self.assertEqual(process.wait(20), 1)  # though stdin is open
        self.assertIn(b"nobody reads", process.stderr.read())
        process.stdin.close(), process.stderr.close()

    def test_it_ends_when_interrupted(self):
        process = start("math")
        process.stdin.write(b'{"gold":"1","answer":"1"}\n')
        process.stdin.flush()
        self.assertIsNotNone(reply_within(process, 20))
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(20), 130)
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()

    def test_usage(self):
        for arguments in (["maths"], [], ["math", "--max-line-mb", "0"], ["math", "--allow-unisolated"]):
            self.assertEqual(talk([], *arguments)[2], 2, arguments)
        self.assertEqual(talk([], "math"), ([], "", 0))


if __name__ == "__main__":
    COMMAND = sys.argv[1:]
    unittest.main(argv=sys.argv[:1])
