// Assert-style tests: the tests in one box, the program in another, values between them.
#include <doctest/doctest.h>

#include "core/error.h"
#include "rewards/code/judge_test_support.h"
#include "rewards/code/test_formats.h"

namespace r1::code {
namespace {

Judgement run(const std::string& program, TestCase test) {
  Submission s;
  s.program = program;
  s.tests = {std::move(test)};
  s.limits.wall_ms = 20'000;
  return judge(s);
}

std::string asserts(const std::string& program, const std::string& tests) {
  TestCase t;
  t.asserts = tests;
  const Judgement j = run(program, t);
  INFO(j.reason);
  return to_string(j.verdict);
}

TEST_CASE("assert tests: values cross with their exact types") {
  if (test::absent("python")) return;
  // One list holds a value of every kind; the program hands back what it was given, and tells the types it saw.
  const std::string program =
      "def same(x): return x\n"
      "def types(x): return [type(v).__name__ for v in x]\n"
      "def cycle():\n  a = [1]\n  a.append(a)\n  return a\n"
      "def deep(n):\n  x = []\n  for _ in range(n): x = [x]\n  return x\n"
      "class Three(int): pass\n"
      "class Liar(int):\n  def __eq__(self, o): return True\n  __hash__ = int.__hash__\n"
      "def three(): return Three(3)\n"
      "def liar(): return Liar(7)\n";
  CHECK(asserts(program,
                "import collections, decimal, fractions\n"
                "xs = [None, True, 1, 1.0, -0.0, 10**400, -2**63, 'a\\ud800\\0', b'\\xff', bytearray(b'x'), 1j, (1, [2], ()), {1, (2, 3)},\n"
                "      frozenset([4]), {1: 'a', 'b': [2], (1, 2): None}, range(1, 9, 2), collections.deque([1, 2], 5),\n"
                "      collections.Counter('aab'), collections.OrderedDict(b=1, a=2), decimal.Decimal('1.10'),\n"
                "      fractions.Fraction(1, 3), int, len, slice(1, 2)]\n"
                "back = same(xs)\n"
                "assert back == xs and [type(v) for v in back] == [type(v) for v in xs]\n"
                "assert types(xs) == [type(v).__name__ for v in xs]\n"
                "assert str(back[4]) == '-0.0' and list(back[18]) == ['b', 'a'] and back[16].maxlen == 5\n"
                "nan = same(float('nan'))\nassert nan != nan\n"
                "c = cycle()\nassert c[1] is c\n"
                "d = deep(20000)\nn = 0\nwhile d: d, n = d[0], n + 1\nassert n == 20000\n"
                "x = [1]\ny = same([x, x])\nassert y[0] is y[1]\n"
                "assert three() == 3 and type(three()) is int\n"
                "assert type(same(True)) is bool and type(same(1)) is int and type(same(1.0)) is float\n") == "accepted");
  CHECK(asserts(program, "assert liar() == 3") == "wrong_answer");
  CHECK(asserts(program, "assert not (liar() != 3)") == "wrong_answer");
  CHECK(asserts(program, "assert same([1, 2]) == (1, 2)") == "wrong_answer");
}

TEST_CASE("a test that cannot be judged decides over the whole submission, whatever the others say") {
  if (test::absent("python")) return;
  Submission s;
  s.program = "def f(x): return 1";
  s.limits.wall_ms = 20'000;
  s.stop_at_first = false;
  for (const char* text : {"assert f(1) == 2", "assert f(1 == 1"}) s.tests.emplace_back().asserts = text;
  const Judgement j = judge(s);
  CHECK(j.verdict == CodeVerdict::kInternalError);
  CHECK(j.reason.starts_with("test 2: "));
}

TEST_CASE("assert tests: objects of the program are handles, exceptions pass") {
  if (test::absent("python")) return;
  const std::string program =
      "class Node:\n  def __init__(self, v): self.v, self.next = v, None\n  def __eq__(self, o): return True\n  __hash__ = None\n"
      "def total(n):\n  s = 0\n  while n: s, n = s + n.v, n.next\n  return s\n"
      "def half(x):\n  if x % 2: raise ValueError('odd')\n  return x // 2\n"
      "def squares(n):\n  for i in range(n): yield i * i\n"
      "class Own(Exception): pass\n"
      "def own(): raise Own('mine')\n"
      "def stop(): raise StopIteration\n"
      "def quit(): raise SystemExit(0)\n";
  CHECK(asserts(program, "a = Node(1)\na.next = Node(2)\nassert total(a) == 3 and a.next.v == 2") == "accepted");
  CHECK(asserts(program, "assert Node(1) == 5") == "wrong_answer");
  CHECK(asserts(program, "assert 5 in [Node(1)]") == "wrong_answer");
  CHECK(asserts(program, "a = Node(1)\nassert a == a and a in [a]") == "accepted");
  CHECK(asserts(program, "assert list(squares(4)) == [0, 1, 4, 9] and next(squares(2)) == 0") == "accepted");
  CHECK(asserts(program, "try:\n  half(3)\n  assert False\nexcept ValueError as e:\n  assert str(e) == 'odd'") == "accepted");
  CHECK(asserts(program, "assert half(3) == 1") == "runtime_error");
  CHECK(asserts(program, "assert own() == 1") == "runtime_error");
  CHECK(asserts(program, "assert quit() == 1") == "runtime_error");
  // StopIteration from the program must not end a loop of the tests as if all had been looked at.
  CHECK(asserts(program, "for got, want in zip(map(lambda _: stop(), [1, 2]), [1, 2]): assert got == want") == "runtime_error");
  CHECK(asserts("def f(x): x.append(1)\n", "a = []\nf(a)\nassert a == []") == "accepted");  // by value, so unchanged here
}

TEST_CASE("assert tests: what lies about the result is refused") {
  if (test::absent("python")) return;
  const std::pair<const char*, const char*> programs[] = {
      {"import os\ndef f(x): os._exit(0)", "wrong_answer"},
      {"import sys\nsys.exit(0)", "runtime_error"},
      {"import os\nos._exit(0)", "wrong_answer"},
      {"import os\nos._exit(3)", "runtime_error"},
      {"def f(x): raise AssertionError", "runtime_error"},
      {"class E:\n  def __eq__(self, o): return True\ndef f(x): return E()", "wrong_answer"},
      {"import builtins\nbuiltins.all = lambda x: True\nall = lambda x: True\nAssertionError = Exception\ndef f(x): return 0", "wrong_answer"},
      {"import sys\ndef f(x):\n  g = sys._getframe()\n  while g:\n    g.f_locals['passed'] = True\n    g = g.f_back\n  return 0", "wrong_answer"},
      {"def g(x): return 1", "runtime_error"},
      {"def f(x: return 1", "runtime_error"},
      // Answers in the runner's place, on every descriptor: one that claims a pass, one that is no message at all.
      {"import os\nfor fd in range(3, 20):\n  try: os.write(fd, b'passed\\n{\"end\": \"passed\"}\\n')\n  except OSError: pass\ndef f(x): return 0", "output_limit"},
      {"import os\nm = b'[[],[\"ok\"]]'\nfor fd in range(3, 20):\n  try: os.write(fd, len(m).to_bytes(8, 'big') + m)\n  except OSError: pass\ndef f(x): return 0", "wrong_answer"},
      {"import os\nm = b'[[[\"list\",[\"ok\",[5]]]],[0]]'\nfor fd in range(3, 20):\n  try: os.write(fd, len(m).to_bytes(8, 'big') + m)\n  except OSError: pass\ndef f(x): return 0", "wrong_answer"},
      {"def f(x): return range(10**15)", "wrong_answer"},
      {"def f(x): return 'x' * 3000000", "output_limit"},
      {"import ctypes\ndef f(x): ctypes.CDLL(None).unshare(0x10000000)", "sandbox_violation"},
  };
  for (const auto& [program, verdict] : programs) {
    CAPTURE(program);
    CHECK(asserts(program, "assert f(1) == 2 and all([f(2) == 3])") == verdict);
  }
  Submission slow;
  slow.program = "def f(x):\n  while True: pass";
  slow.limits.cpu_ms = 300;
  slow.tests.resize(1);
  slow.tests[0].asserts = "try: f(1)\nexcept: pass\nassert 1 == 1";  // not even a test that swallows everything passes it
  CHECK(judge(slow).verdict == CodeVerdict::kTimeLimit);
}

TEST_CASE("assert tests: the tests' own faults are not the program's") {
  if (test::absent("python")) return;
  CHECK(asserts("def f(x): return 1", "assert f(1 == 1") == "internal_error");
  CHECK(asserts("def f(x): return 1", "import no_such_module\nassert f(1) == 1") == "internal_error");
  CHECK(asserts("def f(x): return 1", "assert True") == "internal_error");  // never used the program
  CHECK(asserts("def f(x): return 1", "x = 1 / 0\nassert f(1) == 1") == "internal_error");
  CHECK(asserts("def f(x): return None", "assert f(1)[0] == 1") == "wrong_answer");
}

TEST_CASE("assert tests: whose name is whose") {
  if (test::absent("python")) return;
  CHECK(asserts("def sum(a, b): return a + b", "assert sum(10, 15) == 25") == "accepted");  // only this name can be meant
  CHECK(asserts("def abs(x): return 0\ndef f(x): return x + 9", "assert abs(f(1) - 2) < 1") == "wrong_answer");
  CHECK(asserts("class math:\n  def isclose(a, b): return True\ndef f(x): return 9", "assert math.isclose(f(1), 2)") == "wrong_answer");
  TestCase t;
  t.prelude = "import math\ndef near(a, b): return math.fabs(a - b) < 1e-6\ndef f(x):\n    \"\"\" doubles \"\"\"\n";
  t.entry_point = "f";
  t.asserts = "def check(candidate):\n    assert near(candidate(2.0), 4.0)\n";
  CHECK(run("    return math.fsum([x, x])\n", t).verdict == CodeVerdict::kAccepted);  // goes on where the prelude ends
  CHECK(run("def f(x): return x + x", t).verdict == CodeVerdict::kAccepted);
  CHECK(run("from __future__ import annotations\ndef f(x): return x + x", t).verdict == CodeVerdict::kAccepted);
  CHECK(run("def near(a, b): return True\ndef f(x): return 0", t).verdict == CodeVerdict::kWrongAnswer);
  CHECK(run("", t).verdict == CodeVerdict::kWrongAnswer);
}

TEST_CASE("assert tests: LeetCode style, class Solution, shared classes by value") {
  if (test::absent("python")) return;
  TestCase t;
  t.prelude =
      "class ListNode:\n  def __init__(self, val=0, next=None): self.val, self.next = val, next\n"
      "def build(xs):\n  head = None\n  for x in reversed(xs): head = ListNode(x, head)\n  return head\n"
      "def values(n):\n  out = []\n  while n: out, n = out + [n.val], n.next\n  return out\n";
  t.entry_point = "Solution().turn";
  t.asserts = "def check(candidate):\n  assert values(candidate(head=build([1, 2, 3]))) == [3, 2, 1]\n";
  const std::string turn = "class Solution:\n  def turn(self, head):\n    last = None\n    while head: head.next, last, head = last, head, head.next\n    return last\n";
  CHECK(run(turn, t).verdict == CodeVerdict::kAccepted);
  // Solutions often bring their own copy of the class.
  CHECK(run("class ListNode:\n  def __init__(self, val=0, next=None): self.val, self.next = val, next\n" + turn, t).verdict == CodeVerdict::kAccepted);
  CHECK(run("class Solution:\n  def turn(self, head): return head", t).verdict == CodeVerdict::kWrongAnswer);
  TestCase plain;
  plain.asserts = "assert twoSum([2, 7, 11], 9) == [0, 1]";
  CHECK(run("class Solution:\n  def twoSum(self, nums, target): return [0, 1]", plain).verdict == CodeVerdict::kAccepted);
}

TEST_CASE("rows of HumanEval and MBPP") {
  const auto he = tests_from_row(R"({"task_id":"x","prompt":"def f(x):\n","entry_point":"f","test":"def check(candidate):\n  assert candidate(1) == 2"})");
  REQUIRE(he.size() == 1);
  CHECK(he[0].entry_point == "f");
  CHECK(he[0].prelude == "def f(x):\n");
  const auto mb = tests_from_row(R"({"test_list":["assert f(1) == 2","assert f(2) == 3"],"test_setup_code":"x = 1"})");
  REQUIRE(mb.size() == 2);
  CHECK(mb[1].asserts == "assert f(2) == 3");
  CHECK(mb[1].setup == "x = 1");
  for (const char* bad : {"[]", "{oops", R"({"test_list":[]})", R"({"test_list":[1]})", R"({"test_list":"x"})", R"({"question":"x"})",
                          R"({"test":"","entry_point":"f"})", R"({"test":3,"entry_point":"f"})"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(tests_from_row(bad), Error);
  }
}

}  // namespace
}  // namespace r1::code
