// main() of every test binary: doctest, and exit code 77 ("skipped" to ctest) where a test asked for it by r1::test::skip().
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>

#include "tests/support/support.h"

namespace r1::test {
static bool skipped = false;
void skip(const char* why) {
  skipped = true;
  std::printf("skipped: %s\n", why);
}
}  // namespace r1::test

int main(int argc, char** argv) {
  doctest::Context context(argc, argv);
  const int failed = context.run();
  if (context.shouldExit() || failed != 0) return failed;
  return r1::test::skipped ? 77 : 0;
}
