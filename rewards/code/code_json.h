// Tests and whole requests as JSON, the form of data columns and of `r1 verify code`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "rewards/code/judge.h"

namespace r1::code {

// A list of {"input": text, "output": text} or {"call": "solve(1, 2)", "expected": any JSON value}.
// Throws DataError that names the entry.
std::vector<TestCase> tests_from_json(const std::string& json);

// A request: {"id", "completion" | "program", "language", "tests", "checker", "tolerance", "limits", "prefill"}. "language" defaults
// to Python for a program and to the fence's for a completion; "checker" is checker_json.h's; "prefill" is what the prompt ended with ("<think>" or
// true: the completion begins inside the block).
struct CodeRequest {
  Submission submission;
  std::string no_program;  // why the completion holds no program to run; empty = it does
};
// Throws DataError that names the key. Runs nothing.
CodeRequest request_from_json(const std::string& json);

// One request line -> one reply line: {"id", "correct", "verdict", "passed", "total", "cpu_ms", "wall_ms", "memory_kb",
// "reason"}. A completion without a program is a wrong answer. A malformed line is {"id", "line", "error"}, never a
// throw; "line" is `number` where that is not 0. Thread-safe.
struct CodeReply {
  std::string text;
  bool error = false;
};
CodeReply judge_json_line(std::string_view line, std::int64_t number = 0);

}  // namespace r1::code
