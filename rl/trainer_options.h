// What a GRPO run is told: the loop's own options.
#pragma once

#include <cstdint>
#include <string>

#include "rl/evaluator.h"
#include "rl/train_samples.h"
#include "rollout/engine.h"

namespace r1 {

// DAPO's dynamic sampling: sample on until prompts_per_rollout groups can teach something (keeps_group()).
struct DynamicSamplingOptions {
  bool enabled = false;
  int max_rounds = 10;       // then the rollout is trained on what was kept
  double oversample = 1.0;   // prompts of a round per group still wanted
};

// More groups are begun than wanted, the longest are dropped (rl/early_stop.h). Not with dynamic sampling.
struct EarlyStopOptions {
  bool enabled = false;
  double oversample = 1.25;  // groups begun for one that is wanted
};

// Rollout and learning side by side: docs/asynchronous.md.
struct AsyncOptions {
  std::int64_t max_staleness = 0;  // updates between the weights that a rollout is sampled with and those its first update changes; 0 = in turns
  // Weights also change in the middle of a rollout, as soon as there are newer ones (partial rollouts). No two runs are then alike.
  bool free_running = false;
  double patience_s = 3600;        // a wait for the other side in which nothing happens for so long ends the run
};

struct TrainerOptions {
  std::int64_t steps = 100;        // policy updates of the whole run
  int prompts_per_rollout = 32;
  int samples_per_prompt = 16;
  SamplingOptions sampling;
  TrainSampleOptions train_samples;
  DynamicSamplingOptions dynamic;
  EarlyStopOptions early_stop;
  AsyncOptions async;
  std::int64_t save_every = 50;    // updates; 0 = at the end only
  std::int64_t eval_every = 20;    // updates; 0 = never
  bool eval_at_start = true;
  EvalOptions eval;
  std::uint64_t seed = 0;
  int reward_threads = 1;
  std::string device;              // what computes: completions of another one are not gone on with
  std::string config_digest;       // of what decides the numbers: part of the journal's fingerprint and of checkpoints
};

// Throws ConfigError for options that contradict each other.
void check(const TrainerOptions& options);

}  // namespace r1
