// The choice of an instruction set, and the guard around trials.
#include <csignal>

#include <sys/mman.h>

#include "kernels/fault_guard.h"
#include "kernels/test_support.h"

namespace r1::cpu::test {

TEST_CASE("set_isa takes what this CPU runs and names what it does not") {
  Isa best = Isa::kPortable;
  for (const Isa i : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Bf16, Isa::kAmx}) {
    try {
      set_isa(i);
      best = i;
      CHECK(isa() == i);
    } catch (const DeviceError& e) {
      CHECK(std::string(e.what()).find(to_string(i)) != std::string::npos);
      CHECK(isa() != i);
    }
  }
  CHECK(best == best_isa());
  set_isa(best_isa());
  MESSAGE("best instruction set: ", std::string(to_string(best_isa())));
}

TEST_CASE("a trial that faults counts as not runnable, and handlers come back") {
  struct sigaction before[2], after[2];
  const int signals[2] = {SIGILL, SIGSEGV};
  for (int i = 0; i < 2; ++i) sigaction(signals[i], nullptr, &before[i]);
  CHECK(runs_without_fault([] { return true; }));
  CHECK_FALSE(runs_without_fault([] { return false; }));
  CHECK_FALSE(runs_without_fault([] { return std::raise(SIGILL) == 0; }));
  CHECK_FALSE(runs_without_fault([] {
    volatile int* volatile nowhere = nullptr;
    *nowhere = 1;
    return true;
  }));
  CHECK(runs_without_fault([] { return true; }));
  for (int i = 0; i < 2; ++i) {
    sigaction(signals[i], nullptr, &after[i]);
    const bool same = before[i].sa_handler == after[i].sa_handler;
    CHECK(same);
  }
}

}  // namespace r1::cpu::test
