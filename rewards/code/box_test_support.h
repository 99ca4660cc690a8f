// Shared by the tests of the box: a Python program in it, and what the host must have.
#pragma once

#include <string>

#include <unistd.h>

#include "rewards/code/box.h"
#include "rewards/code/isolation.h"
#include "tests/support/support.h"

namespace r1::code::test {

inline Outcome run_python(const std::string& program, const std::string& input, const Limits& limits) {
  Job job;
  job.argv = {"/usr/bin/python3", "-I", "main.py"};
  job.files = {{"main.py", program}};
  job.input = input;
  job.limits = limits;
  return run_in_box(job);
}

// True, and the test binary reports "skipped", where this host has no isolation or no Python.
inline bool absent() {
  if (!host_guarantees().namespaces) {
    r1::test::skip(host_guarantees().problem.c_str());
    return true;
  }
  if (access("/usr/bin/python3", X_OK) != 0) {
    r1::test::skip("no /usr/bin/python3");
    return true;
  }
  return false;
}

}  // namespace r1::code::test
