#include "kernels/fault_guard.h"

#include <csetjmp>
#include <csignal>
#include <iterator>

namespace r1::cpu {
namespace {

thread_local volatile std::sig_atomic_t in_trial = 0;
thread_local sigjmp_buf trial_return;
constexpr int kFaults[] = {SIGILL, SIGSEGV, SIGBUS, SIGFPE};
struct sigaction old_actions[std::size(kFaults)];

void on_fault(int signal, siginfo_t*, void*) {
  if (in_trial) siglongjmp(trial_return, 1);
  // Not ours: put the earlier handler back and let the instruction fault again.
  for (std::size_t i = 0; i < std::size(kFaults); ++i)
    if (kFaults[i] == signal) sigaction(signal, &old_actions[i], nullptr);
}

}  // namespace

bool runs_without_fault(bool (*trial)()) {
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigemptyset(&action.sa_mask);
  for (std::size_t i = 0; i < std::size(kFaults); ++i) sigaction(kFaults[i], &action, &old_actions[i]);
  volatile bool ok = false;
  if (sigsetjmp(trial_return, 1) == 0) {
    in_trial = 1;
    ok = trial();
  }
  in_trial = 0;
  for (std::size_t i = 0; i < std::size(kFaults); ++i) sigaction(kFaults[i], &old_actions[i], nullptr);
  return ok;
}

}  // namespace r1::cpu
