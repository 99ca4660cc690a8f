// One libFuzzer program a target: R1_FUZZ_TARGET names the function of targets.h.
#include "tests/fuzz/targets.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  r1::fuzz::R1_FUZZ_TARGET({reinterpret_cast<const char*>(data), size});
  return 0;
}
