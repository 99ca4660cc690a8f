#!/usr/bin/env python3
"""Writes the seeds of the fuzz corpus, one small file an idea: make_seeds.py FOLDER. What fuzzing found stands beside them."""
import json
import pathlib
import sys

MATH = [
    ("\\frac{1}{2}", "0.5"), ("1{,}234", "1234"), ("50\\%", "50"), ("\\sqrt{5+2\\sqrt6}", "\\sqrt2+\\sqrt3"), ("e^{i\\pi}+1", "0"),
    ("\\{1, 2, 3\\}", "{3,2,1}"), ("(1, 2]", "1 < x \\le 2"), ("(-\\infty,3]\\cup(5,\\infty)", "(5,oo) U (-oo,3]"),
    ("\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "[[1,2],[3,4]]"), ("2x+3y=6", "y=2-\\frac{2}{3}x"), ("x \\ne 3", "x \\neq 3"),
    ("90^\\circ", "\\frac{\\pi}{2}"), ("5\\text{ cm}", "5 m"), ("0.\\overline{3}", "1/3"), ("101_2", "5_{10}"), ("\\text{(C)}", "C. 12"),
    ("2\\frac{1}{3}", "7/3"), ("x \\mapsto x^2", "x^2"), ("5^{5^{5^{5^5}}}", "9^9^9^9"), ("\\binom{5}{2}", "10"), ("|{-3}|", "3"),
    ("1 \\pm \\sqrt 2", "1+\\sqrt2, 1-\\sqrt2"), ("\\log_2 8", "3"), ("2004!", "2006!"), ("１２３", "123"), ("3:4:5", "3:4:6"),
    ("\\lfloor 2.7 \\rfloor", "2"), ("\\text{east}", "East"), ("10^{-3}", "1e-3"), ("72", "#### 72"), ("\\frac{d}{dx}x^2", "2x"),
    ("\\sum_{k=1}^{3} k", "6"), ("-\\frac{3}{4}i", "-0.75i"), ("½", "0.5"), ("\\$1,000.00", "1000"), ("3\\sin^2 x", "3-3\\cos^2 x"),
]
TEXTS = [
    "<think>\nwe add</think>\n<answer>\\boxed{82}</answer>", "So \\boxed{1}, \\boxed{2} and \\boxed{3}.", "a\n#### 1,234", "The final answer is $x = 5$.",
    "<think>not closed \\boxed{1}", "**Answer:** 12 or 13", "x </think> y </think> 7", "\\fbox{\\frac{1}{2}", "it costs $5.50 and 3 1/2 cups",
    "```python\nprint(1)\n```", "~~~cpp\nint main(){}\n~~~\n```py\nopen", "<answer>a</answer><answer>b</answer>", "１２ ＋ ½ − 3² = ٣",
    "the answer is: \\text{no solution}", "`<think>` in code </think><answer>5</answer><|im_end|>", "<think>`</think><answer>x</answer>",
    "\\[ x^2 + 1 = 0 \\]", "", "最后答案是 42。", "Answer: (B) 7", "<think></think><answer></answer>", "<think>a</think>\n\n<answer>5</answer>\n text",
]
LANGUAGE = [
    "We first add the numbers and then take the root of it.", "我们先把两个数相加，然后 $x^2$ 得到答案。", "まず数字を足します。それから答えを出します。",
    "먼저 숫자를 더하고 답을 구합니다.", "Сначала складываем числа. Then we look again.", "نجمع الأعداد أولا ثم نجد الجواب", "เราบวกตัวเลขก่อน",
    "हम पहले संख्याओं को जोड़ते हैं", "Zuerst addieren wir `x_1` und \\frac{1}{2}.", "D'abord http://a.b/c?d=e puis a@b.org", "x = 3y + 2\n$$\\int f$$",
    "<think>foo_bar(x) camelCase ABC 3.14</think>the answer", "```\ncode here\n```", "\xff\xfe broken", "a", "🙂🙂 ok ok ok ok ok",
]
TESTS = [{"input": "1\n", "output": "1"}, {"call": "f(1)", "expected": [1, {"a": None}]}, {"asserts": "assert f(1) == 2", "entry_point": "f"}]
REQUESTS = [
    (0, {"id": 1, "gold": "\\frac12", "answer": "0.5", "options": {"strict": False, "percent": "either"}}),
    (0, {"id": "a", "gold": "72", "completion": "<think>x</think>\\boxed{72}", "prefill": "", "stop": "eos"}),
    (0, {"gold": "1", "answer": "1", "options": {"unknown": 1}}), (0, {"gold": 7}), (0, [1]),
    (0, {"gold": "1", "completion": "1", "options": {"extract": "last_number", "several_boxes": "last"}}),
    (1, {"id": None, "completion": "a</think><answer>b</answer>", "prefill": "<think>\n", "options": {"partial": True}}),
    (1, {"completion": "x", "prefill": True, "stop": "length"}), (1, {"completion": "x", "stop": "end"}),
    (2, {"id": [1, 2], "completion": "we add the numbers and find it", "language": "en", "options": {"region": "all", "allowance": 0.1}}),
    (2, {"completion": "x", "language": "xx"}),
    (3, {"id": 1, "program": "print(1)", "language": "python", "tests": TESTS, "tolerance": 0.1, "limits": {"wall_ms": 1000}}),
    (3, {"completion": "```cpp\nint main(){}\n```", "tests": TESTS[:1]}), (3, TESTS), (3, json.dumps(TESTS)),
    (3, {"prompt": "def f(x):\n", "entry_point": "f", "test": "def check(candidate):\n    assert candidate(1) == 2\n"}),
    (3, {"test_list": ["assert f(1) == 2"], "test_setup_code": "import math", "code": "x"}),
    (3, {"program": "print(1)", "language": "python", "tests": TESTS[:1], "checker": "import sys\nsys.exit(0)\n"}),
    (3, {"program": "int main(){}", "language": "cpp", "verdict": "printed", "files": {"testlib.h": "#pragma once"}, "limits": {"wall_ms": 2000}}),
    (3, {"program": "x", "files": {"../a": "b"}}), (3, {"program": "x", "limits": {"cpu_ms": -1, "pids": 3}}),
]


def main():
    root = pathlib.Path(sys.argv[1])

    def write(target, n, data):
        folder = root / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"seed_{n:02}").write_bytes(data)

    for n, (gold, answer) in enumerate(MATH):
        write("math", n, f"{gold}\n{answer}".encode())
    for n, text in enumerate(TEXTS):
        write("extract", n, text.encode())
        write("format", n, bytes([n % 32]) + text.encode())
    for n, text in enumerate(LANGUAGE):
        write("language", n, bytes([n * 4 % 64]) + text.encode("utf-8" if "\xff" not in text else "latin-1"))
    for n, (kind, request) in enumerate(REQUESTS):
        write("verify", n, bytes([kind]) + json.dumps(request, ensure_ascii=False).encode())


main()
