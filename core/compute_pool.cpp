#include "core/compute_pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <cmath>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/cgroup.h"
#include "core/error.h"

namespace r1 {
namespace {

using Clock = std::chrono::steady_clock;

// Longer than the gap between two loops of one layer, shorter than a wake-up of a sleeping thread costs.
constexpr auto kSpin = std::chrono::microseconds(20);
// After that a waiting thread offers its core to others for so long before it sleeps: the serial parts of a decode step are
// about as long, and a sleeper costs the next loop a wake-up. A core that others want is theirs at once.
constexpr auto kYield = std::chrono::microseconds(200);
// Waking a sleeping thread costs the caller about this much (measured 17-39 us in a virtual machine, 3-5 us without).
constexpr auto kWakeCost = std::chrono::microseconds(20);
// More chunks than threads, so that a thread that is late or was preempted leaves its share to the others.
constexpr std::int64_t kChunksPerThread = 4;

thread_local bool inside_loop = false;
struct InsideLoop {
  InsideLoop() { inside_loop = true; }
  ~InsideLoop() { inside_loop = false; }
};

void cpu_relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Polls `ready` for at most kSpin + kYield. The clock is read only every few polls: it costs as much as a pause.
template <class Ready>
bool spin_until(Ready ready) {
  if (ready()) return true;
  const auto start = Clock::now();
  for (auto waited = Clock::duration{}; waited < kSpin + kYield; waited = Clock::now() - start) {
    if (waited >= kSpin) sched_yield();
    for (int i = 0; i < 16; ++i) {
      cpu_relax();
      if (ready()) return true;
    }
  }
  return false;
}

using Word = std::atomic<std::uint32_t>;
static_assert(sizeof(Word) == sizeof(std::uint32_t));

void futex_wait(Word& word, std::uint32_t expected) {
  syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}
void futex_wake(Word& word, int count) {
  syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

}  // namespace

// Invariants:
// 1. `gate` = loop number in the upper 32 bits, kOpen, and the number of workers inside in the lowest bits.
// 2. The job's fields change only while the gate is closed and nobody is inside.
// 3. A worker enters only an open gate, so the caller never waits for a worker that did not wake up in time.
struct ComputePool::State {
  static constexpr std::uint64_t kOpen = std::uint64_t{1} << 31;
  static constexpr std::uint64_t kInside = kOpen - 1;

  std::mutex caller;  // one loop at a time
  std::vector<std::thread> workers;

  // The job.
  const FunctionRef<void(std::int64_t, std::int64_t)>* fn = nullptr;
  std::int64_t n = 0, chunk = 0;
  std::mutex error_mutex;
  std::exception_ptr error;

  alignas(64) std::atomic<std::int64_t> next{0};
  alignas(64) std::atomic<std::uint64_t> gate{0};
  // What idle workers sleep on: a copy of the loop number. The caller sleeps on `left`.
  alignas(64) Word loop{0};
  std::atomic<int> sleepers{0};
  std::atomic<bool> stopping{false};
  alignas(64) Word left{0};
  std::atomic<bool> caller_sleeps{false};

  void run_chunks() {
    const InsideLoop mark;
    while (true) {
      const std::int64_t begin = next.fetch_add(chunk, std::memory_order_relaxed);
      if (begin >= n) break;
      try {
        (*fn)(begin, std::min(n, begin + chunk));
      } catch (...) {
        next.store(n, std::memory_order_relaxed);  // leave out the rest
        const std::lock_guard lock(error_mutex);
        if (!error) error = std::current_exception();
      }
    }
  }

  bool enter(std::uint32_t seen) {
    std::uint64_t g = gate.load(std::memory_order_acquire);
    while ((g & kOpen) && static_cast<std::uint32_t>(g >> 32) != seen) {
      if (gate.compare_exchange_weak(g, g + 1, std::memory_order_acquire)) return true;
    }
    return false;
  }

  void leave() {
    const std::uint64_t before = gate.fetch_sub(1, std::memory_order_seq_cst);
    if (!(before & kOpen) && (before & kInside) == 1) {
      left.fetch_add(1, std::memory_order_seq_cst);
      if (caller_sleeps.load(std::memory_order_seq_cst)) futex_wake(left, 1);
    }
  }

  void work() {
    pthread_setname_np(pthread_self(), "r1-compute");
    std::uint32_t seen = 0;
    while (true) {
      const auto changed = [&] { return loop.load(std::memory_order_acquire) != seen; };
      if (!spin_until(changed)) {
        sleepers.fetch_add(1, std::memory_order_seq_cst);
        while (!changed()) futex_wait(loop, seen);
        sleepers.fetch_sub(1, std::memory_order_seq_cst);
      }
      if (stopping.load(std::memory_order_acquire)) return;
      // The gate opens before `loop` changes, so a worker that missed this loop finds the gate closed, or a later one.
      const std::uint32_t current = loop.load(std::memory_order_acquire);
      if (enter(seen)) {
        seen = static_cast<std::uint32_t>(gate.load(std::memory_order_relaxed) >> 32);  // fixed while we are inside
        run_chunks();
        leave();
      } else {
        seen = current;
      }
    }
  }

  void announce(std::uint32_t number, int wanted) {
    loop.store(number, std::memory_order_seq_cst);
    if (sleepers.load(std::memory_order_seq_cst) > 0) futex_wake(loop, wanted);
  }

  // Loops run without the sleeping workers, one close behind the other, and the time that the workers would have shared.
  Clock::time_point alone_end{};
  Clock::duration alone{};

  // True once the time that help would have saved is worth a wake-up: a long loop at once, short ones after a few.
  bool worth_waking(Clock::time_point start, Clock::duration rest) {
    if (start - alone_end > kSpin + kYield) alone = {};  // the workers would have gone to sleep again in between
    alone += rest;
    if (alone < kWakeCost) return false;
    alone = {};
    return true;
  }

  bool all_sleep() const { return sleepers.load(std::memory_order_relaxed) == static_cast<int>(workers.size()); }

  void run(std::int64_t count, std::int64_t grain, std::int64_t chunk_size, const FunctionRef<void(std::int64_t, std::int64_t)>& body) {
    const std::lock_guard lock(caller);
    std::int64_t begin = 0;
    if (all_sleep()) {
      // The first block tells how long the loop is.
      const InsideLoop mark;
      const auto start = Clock::now();
      body(0, grain);
      begin = grain;
      if (!worth_waking(start, (Clock::now() - start) * ((count - begin + grain - 1) / grain))) {
        body(begin, count);
        alone_end = Clock::now();
        return;
      }
    }
    fn = &body;
    n = count;
    chunk = chunk_size;
    error = nullptr;
    next.store(begin, std::memory_order_relaxed);
    const std::uint32_t number = loop.load(std::memory_order_relaxed) + 1;
    gate.store((std::uint64_t{number} << 32) | kOpen, std::memory_order_release);
    const std::int64_t chunks = (count - begin + chunk_size - 1) / chunk_size;
    announce(number, static_cast<int>(std::min<std::int64_t>(chunks - 1, static_cast<std::int64_t>(workers.size()))));
    run_chunks();

    gate.fetch_and(~kOpen, std::memory_order_seq_cst);
    const auto empty = [&] { return (gate.load(std::memory_order_acquire) & kInside) == 0; };
    if (!spin_until(empty)) {
      caller_sleeps.store(true, std::memory_order_seq_cst);
      while (true) {
        const std::uint32_t ticket = left.load(std::memory_order_seq_cst);
        if (empty()) break;
        futex_wait(left, ticket);
      }
      caller_sleeps.store(false, std::memory_order_relaxed);
    }
    if (error) std::rethrow_exception(std::exchange(error, nullptr));
  }
};

ComputePool::ComputePool(int threads) : state_(std::make_unique<State>()) {
  if (threads < 0) throw ConfigError(message("a pool of ", threads, " threads: give 1 or more, or 0 for one per core"));
  if (threads == 0) threads = usable_cores();
  state_->workers.reserve(static_cast<std::size_t>(threads - 1));
  try {
    for (int i = 1; i < threads; ++i) state_->workers.emplace_back([this] { state_->work(); });
  } catch (const std::system_error& e) {
    const std::size_t started = state_->workers.size();
    stop();
    throw DeviceError(message("cannot start thread ", started + 2, " of ", threads, ": ", e.what(),
                              "; ask for fewer threads or raise the process limit (ulimit -u)"));
  }
}

ComputePool::~ComputePool() { stop(); }

void ComputePool::stop() {
  state_->stopping.store(true, std::memory_order_release);
  state_->announce(state_->loop.load() + 1, INT_MAX);
  for (auto& worker : state_->workers) worker.join();
}

int ComputePool::size() const { return static_cast<int>(state_->workers.size()) + 1; }

void ComputePool::parallel_for(std::int64_t n, std::int64_t grain, FunctionRef<void(std::int64_t, std::int64_t)> fn) {
  if (n <= 0) return;
  grain = std::max<std::int64_t>(grain, 1);
  // A multiple of the grain, so that chunks begin where the caller's blocks begin.
  const std::int64_t share = n / (size() * kChunksPerThread);
  const std::int64_t chunk = std::max<std::int64_t>(1, (share + grain - 1) / grain) * grain;
  if (inside_loop || chunk >= n || state_->workers.empty()) {
    fn(0, n);
    return;
  }
  state_->run(n, grain, chunk, fn);
}

int usable_cores() {
  int cores = 1;
  for (int capacity = 1024; capacity <= (1 << 20); capacity *= 4) {  // EINVAL = the kernel has more CPUs than the set
    cpu_set_t* set = CPU_ALLOC(capacity);
    const std::size_t bytes = CPU_ALLOC_SIZE(capacity);
    const bool ok = sched_getaffinity(0, bytes, set) == 0;
    if (ok) cores = CPU_COUNT_S(bytes, set);
    CPU_FREE(set);
    if (ok) break;
  }
  if (const auto limit = cgroup_cpu_limit()) cores = std::min(cores, static_cast<int>(std::ceil(*limit)));
  return std::max(cores, 1);
}

}  // namespace r1
