// Tests and whole requests as JSON, the form of data columns and of `r1 verify code`.
#pragma once

#include <string>
#include <vector>

#include "rewards/code/judge.h"

namespace r1::code {

// A list of {"input": text, "output": text} or {"call": "solve(1, 2)", "expected": any JSON value}.
// Throws DataError that names the entry.
std::vector<TestCase> tests_from_json(const std::string& json);

// One request line -> one reply line, as issue 4 defines them: {"id", "completion" | "program", "language", "tests",
// "tolerance", "limits"} -> {"id", "correct", "verdict", "passed", "total", "cpu_ms", "wall_ms", "memory_kb", "reason"}.
// A malformed line is a reply with "error", never a throw.
std::string judge_json_line(const std::string& line);

}  // namespace r1::code
