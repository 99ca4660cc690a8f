#include "core/signals.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <unistd.h>

#include "core/error.h"

namespace r1 {
namespace {

std::atomic<int> first_signal{0};
std::atomic<const std::string*> abort_cause{nullptr};  // never freed: a reader may hold it
static_assert(std::atomic<int>::is_always_lock_free);  // else a handler may not touch it

extern "C" void on_stop_signal(int number) {
  const int saved = errno;
  int none = 0;
  if (!first_signal.compare_exchange_strong(none, number)) _exit(130);
  constexpr char kText[] = "\nstopping: the current work is saved first; once more ends at once\n";
  [[maybe_unused]] const auto ignored = ::write(2, kText, sizeof kText - 1);
  errno = saved;
}

}  // namespace

void install_stop_signals() {
  struct sigaction action{};
  action.sa_handler = on_stop_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, nullptr);
}

bool stop_requested() { return first_signal.load(std::memory_order_relaxed) != 0; }
int stop_signal() { return first_signal.load(std::memory_order_relaxed); }
void request_stop() {
  int none = 0;
  first_signal.compare_exchange_strong(none, SIGINT);
}
void request_abort(const std::string& cause) {
  const std::string *none = nullptr, *mine = new std::string(cause);
  if (!abort_cause.compare_exchange_strong(none, mine)) delete mine;
}
void throw_if_aborted() {
  if (const std::string* cause = abort_cause.load()) throw Error(*cause);
}
void throw_if_stopped() {
  throw_if_aborted();
  if (stop_requested()) throw Interrupted(message("stopped by signal ", stop_signal(), " (", strsignal(stop_signal()), ")"));
}
void reset_stop_for_tests() {
  first_signal = 0;
  abort_cause = nullptr;
}

}  // namespace r1
