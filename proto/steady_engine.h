// For tests of services: an engine that goes on until it is told to stop.
#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "rollout/engine.h"

namespace r1::test {

// Token 65 ("A") every millisecond, as many as max_new_tokens, for all requests at once.
class SteadyEngine : public RolloutEngine {
 public:
  RequestId submit(RolloutRequest r) override {
    running_[++last_] = {std::move(r), 0};
    return last_;
  }
  void cancel(RequestId id) override {
    const std::lock_guard lock(mutex_);
    cancelled_.insert(id);
  }
  void wait(const std::function<void(RolloutEvent&&)>& on_event, bool) override {
    while (!running_.empty()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      const auto now = running_;
      for (const auto& [id, one] : now) {
        bool aborted = false;
        {
          const std::lock_guard lock(mutex_);
          aborted = cancelled_.contains(id);
        }
        const int n = one.second;
        RolloutEvent e;
        e.request = id;
        if (aborted || n == one.first.sampling.max_new_tokens) {
          running_.erase(id);
          e.completion.tokens.assign(static_cast<std::size_t>(n), 65);
          e.completion.logprobs.assign(static_cast<std::size_t>(n), -1.f);
          if (n > 0) e.completion.version_runs = {{}};
          e.completion.stop = aborted ? StopReason::kAborted : StopReason::kLength;
        } else {
          running_[id].second = n + 1;
          e.kind = RolloutEvent::Kind::kTokens;
          e.tokens = {65};
          e.logprobs = {-1.f};
          e.text = "A";
        }
        on_event(std::move(e));
      }
    }
  }
  void load_weights(const WeightSnapshot&) override {}
  WeightVersion weight_version() const override { return 0; }
  EngineStats stats() const override { return {}; }

 private:
  std::map<RequestId, std::pair<RolloutRequest, int>> running_;
  RequestId last_ = 0;
  std::mutex mutex_;
  std::set<RequestId> cancelled_;
};

}  // namespace r1::test
