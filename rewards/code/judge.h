// A submission and its tests -> a verdict. One build, every test in a fresh box; expected values stay outside.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "rewards/code/box.h"

namespace r1::code {

enum class CodeVerdict : std::uint8_t {
  kAccepted, kWrongAnswer, kRuntimeError, kTimeLimit, kMemoryLimit, kOutputLimit, kCompileError, kSandboxViolation,
  kInternalError,  // ours: an alarm, never a reward
};
const char* to_string(CodeVerdict);  // "accepted", "wrong_answer", ...

struct TestCase {
  std::string input = {}, output = {};   // stdin and expected stdout, or, if `call` is set:
  std::string call = {}, expected = {};  // a Python expression over the program's names, and its value as JSON text; or:
  // Python statements that assert, or define check(candidate), as HumanEval and MBPP have them. They run in a box of
  // their own, where names that the tests do not define are proxies of the program's: arguments and results pass by
  // value with their exact types, what has no plain value (an instance of the program's own class) as a handle that
  // equals nothing but itself.
  std::string asserts = {};
  std::string entry_point = {};  // an expression ("f", "Solution().f"): what the tests call `candidate`; may be empty
  std::string setup = {};        // runs before the asserts, in their box
  std::string prelude = {};      // runs in both boxes before anything else: imports, helpers, classes to share by value
};

// A special judge: a program that decides whether an output is right, where many are. It runs in a box of its own, after
// the submission is gone, as `checker input.txt output.txt answer.txt` (the order of testlib: the test's input, what the
// submission printed, the test's expected output), with an empty stdin.
struct Checker {
  std::string program;  // empty: outputs are compared (same_output)
  std::string language = "python";
  // "exit": 0 = right; 1 and 2 = wrong; 7 (points) = wrong; anything else, a signal or a limit: the checker failed.
  // "printed": it must exit with 0, and all of its stdout is one word: accepted, ok, correct, yes, true, 1 / wrong_answer, wrong,
  // incorrect, no, false, 0.
  bool printed = false;
  std::vector<BoxFile> files = {};  // beside the checker, at build and at run: headers, tables
  Limits limits = {};
};

struct Submission {
  std::string program;
  std::string language = "python";
  std::vector<TestCase> tests;
  Checker checker;       // of tests by input and output
  double tolerance = 0;  // see same_output
  Limits limits;         // of each test; the build has its own
  bool stop_at_first = false;  // all-or-nothing rewards need no more than the first failure
};

struct Judgement {
  CodeVerdict verdict = CodeVerdict::kInternalError;  // of the first test that was not accepted
  int passed = 0, total = 0;
  std::int64_t cpu_ms = 0, wall_ms = 0, memory_kb = 0;  // sums over the tests; the largest
  std::string reason;  // for people: which test, exit code or signal, the end of stderr
};

// Thread-safe. No tests, an unknown language or a missing toolchain: kInternalError with the reason.
// Throws Error only if the host cannot isolate.
Judgement judge(const Submission& submission);

}  // namespace r1::code
