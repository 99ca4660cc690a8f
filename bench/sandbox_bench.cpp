// sandbox_bench [RUNS]: one line of JSON, see rewards/code/sandbox_bench.h.
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "rewards/code/sandbox_bench.h"

int main(int argc, char** argv) {
  try {
    std::puts(r1::code::measure_sandbox(argc > 1 ? std::atoi(argv[1]) : 100).c_str());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
    return 1;
  }
}
