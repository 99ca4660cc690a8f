// Threads for numeric kernels. One caller at a time splits a loop; workers wait briefly for the next loop, then
// sleep, so that an idle or oversubscribed machine loses nothing to spinning (measured reason: OpenMP's spin
// barriers cost 4-7x on two busy cores).
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace r1 {

// A non-owning reference to a callable; valid while the callable lives.
template <class Signature> class FunctionRef;
template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  template <class F, class = std::enable_if_t<!std::is_same_v<std::decay_t<F>, FunctionRef>>>
  FunctionRef(F&& f)  // NOLINT: implicit by design
      : object_(const_cast<void*>(static_cast<const void*>(&f))), call_([](void* o, Args... a) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(o))(static_cast<Args>(a)...);
        }) {}
  R operator()(Args... a) const { return call_(object_, static_cast<Args>(a)...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

class ComputePool {
 public:
  // `threads` counts the calling thread too; 1 runs everything inline. 0 = one per usable core.
  explicit ComputePool(int threads = 0);
  ~ComputePool();
  ComputePool(const ComputePool&) = delete;
  ComputePool& operator=(const ComputePool&) = delete;

  int size() const;

  // Calls fn(begin, end) for disjoint chunks that cover [0, n), each of at least `grain` items except the last.
  // Chunks are handed out in order, to whoever is free; the caller takes part. Returns when all are done; the first
  // exception is rethrown here. Which thread runs a chunk must not change a result. A call from inside fn runs inline.
  // Thread-safe: a second caller waits.
  void parallel_for(std::int64_t n, std::int64_t grain, FunctionRef<void(std::int64_t, std::int64_t)> fn);

 private:
  struct State;
  void stop();
  std::unique_ptr<State> state_;
};

// Cores that this process may use (affinity and cgroup quota respected), at least 1.
int usable_cores();

}  // namespace r1
