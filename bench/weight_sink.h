// What the benches of weights on their way share: an engine that only takes weights, and times.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <utility>
#include <vector>

#include "core/error.h"
#include "rollout/engine.h"

namespace r1::bench {

using Clock = std::chrono::steady_clock;

inline double ms_since(Clock::time_point start) { return std::chrono::duration<double, std::milli>(Clock::now() - start).count(); }
inline double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

// Takes weights as an engine does: a copy into its own memory, a Store of load() and digest().
template <class Store>
class WeightSink : public RolloutEngine {
 public:
  template <class... Args>
  explicit WeightSink(Args&&... args) : store_(std::forward<Args>(args)...) {}
  RequestId submit(RolloutRequest) override { throw Error("it takes weights alone"); }
  void cancel(RequestId) override {}
  void wait(const std::function<void(RolloutEvent&&)>&, bool) override {}
  void load_weights(const WeightSnapshot& snapshot) override {
    store_.load(snapshot);
    version_ = snapshot.version;
  }
  WeightVersion weight_version() const override { return version_; }
  EngineStats stats() const override { return {}; }
  WeightDigest digest() const { return store_.digest(); }

 private:
  Store store_;
  std::atomic<WeightVersion> version_{0};
};

}  // namespace r1::bench
