// Between the files of the judge: what one run of one test tells.
#pragma once

#include <string>

#include "rewards/code/build.h"
#include "rewards/code/judge.h"
#include "rewards/code/toolchain.h"

namespace r1::code {

struct TestRun {
  CodeVerdict verdict = CodeVerdict::kInternalError;
  std::string why;  // empty if accepted
  std::int64_t cpu_ms = 0, wall_ms = 0, memory_kb = 0;
};

CodeVerdict verdict_of(const Outcome& outcome);  // of how a program ended; its output is not looked at
std::string story(const Outcome& outcome);       // "exit code 1: " and the end of stderr
std::string tail(const std::string& text);       // the last few hundred bytes

// What the checker says of an output. A checker that fails is asked about the expected output too: if it can judge that,
// the submission's output broke it, which is a wrong answer; if not, the checker is at fault: kInternalError.
TestRun check_output(const Checker& checker, const Language& language, const Built& built, const TestCase& test,
                     const std::string& output);

// The test's assert statements in a box of their own, the program in another; a socket between them.
TestRun run_asserts(const Submission& submission, const TestCase& test);

}  // namespace r1::code
