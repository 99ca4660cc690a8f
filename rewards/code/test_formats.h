// Tests as public data sets write them: a data row in, test cases out.
#pragma once

#include <string>
#include <vector>

#include "rewards/code/judge.h"

namespace r1::code {

// The row's form is known by its columns:
//   HumanEval  {"prompt", "entry_point", "test"}: one test, which defines check(candidate); the prompt's helpers and
//              imports run in both boxes, and a program that begins with an indented line goes on where the prompt ends
//   MBPP       {"test_list", "test_setup_code"}: one test an assert
// Throws DataError if no known form fits or a column has another type than the form says.
std::vector<TestCase> tests_from_row(const std::string& row_json);

}  // namespace r1::code
