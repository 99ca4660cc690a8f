// What watches a training run: the record of an update, and the calls for everything that happens in a run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>

#include "core/types.h"
#include "rl/evaluator.h"
#include "rl/group_sampler.h"
#include "rl/token_trace.h"

namespace r1 {

// One policy update, as observers see it.
struct StepRecord {
  std::int64_t step = 0;           // 1 for the first
  std::uint64_t rollout = 0;
  std::map<std::string, double> metrics;
  // The rollout behind it, at its first update only (else empty); valid during the call. kept [groups]: 0 = dropped by
  // dynamic sampling (empty = none was). `samples` are those of the kept groups, in order, as trained.
  std::span<const ScoredGroup> groups;
  std::span<const std::uint8_t> kept;
  std::span<const TrainSample> samples;
  // What this update did with its tokens, in no order, where the learner keeps that; TokenTrace::sample counts `trained`, the
  // learner's samples of the whole rollout.
  std::span<const TokenTrace> traces;
  std::span<const TrainSample> trained;
};

// Every function may throw (disk full); the run then ends. Called on the trainer's thread. Defaults do nothing.
class TrainObserver {
 public:
  virtual ~TrainObserver() = default;
  virtual void on_rollout_start(std::uint64_t rollout, std::int64_t step) {}
  virtual void on_rollout_progress(const RolloutProgress&) {}
  virtual void add_metrics(StepRecord&) {}  // before any on_step: numbers of the observer's own for record.metrics
  virtual void on_step(const StepRecord&) {}
  // The reference became the policy: an outer pass of iterative GRPO (arXiv:2402.03300 section 4.1.4) is over, a reward model may be
  // trained on. After on_step; the learner's weights are those of this step.
  virtual void on_reference_refreshed(std::int64_t step) {}
  virtual void on_evaluation(std::int64_t step, const EvalReport&) {}
  // Numbers of held-out data that no generation is behind: eval/loss, ...
  virtual void on_validation(std::int64_t step, const std::map<std::string, double>& metrics) {}
  virtual void on_checkpoint(std::int64_t step, const std::filesystem::path&) {}
  virtual void on_message(const std::string&) {}  // for people: a batch without a mixed group, a resumed rollout
};

}  // namespace r1
