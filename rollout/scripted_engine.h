// A rollout engine without a model: completions come from a function. For tests of trainers, evaluators and services,
// and for replaying recorded rollouts.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <set>
#include <vector>

#include "rollout/engine.h"

namespace r1 {

class ScriptedEngine : public RolloutEngine {
 public:
  // Gives sample `sample` (0..samples-1) of a request. Called on the thread that waits, requests in the order of their
  // submission, samples by number. What is left out is filled in: logprobs with 0, version_runs with the present version.
  using Script = std::function<Completion(const RolloutRequest& request, int sample)>;
  explicit ScriptedEngine(Script script);

  RequestId submit(RolloutRequest request) override;
  void cancel(RequestId id) override;
  // With stream = true each completion's tokens come as one event before it finishes.
  void wait(const std::function<void(RolloutEvent&&)>& on_event, bool stream = false) override;
  void load_weights(const WeightSnapshot& snapshot) override;
  WeightVersion weight_version() const override { return version_; }
  EngineStats stats() const override { return stats_; }

  const std::vector<WeightVersion>& loaded_versions() const { return loaded_; }

 private:
  struct Pending {
    RequestId id = 0;
    RolloutRequest request;
  };
  Completion make(const Pending& pending, int sample);

  Script script_;
  std::vector<Pending> queue_;
  RequestId next_id_ = 1;
  std::mutex mutex_;  // guards cancelled_ and loaded_
  std::set<RequestId> cancelled_;
  std::vector<WeightVersion> loaded_;
  std::atomic<WeightVersion> version_{0};
  EngineStats stats_;
};

}  // namespace r1
