// Shared by the tests of the judge: what must be there, and one test against one program.
#pragma once

#include <doctest/doctest.h>

#include <string>

#include "rewards/code/isolation.h"
#include "rewards/code/judge.h"
#include "rewards/code/toolchain.h"
#include "tests/support/support.h"

namespace r1::code::test {

// True where this host has no isolation (the test binary reports "skipped") or not this toolchain.
inline bool absent(const char* language) {
  if (!host_guarantees().namespaces) {
    r1::test::skip(host_guarantees().problem.c_str());
    return true;
  }
  const bool none = !find_language(language)->installed();
  if (none) MESSAGE("skipped: no toolchain for ", language);
  return none;
}

}  // namespace r1::code::test
