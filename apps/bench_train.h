// `r1 bench train` and `r1 bench grpo`: speed of the learner and of a whole step on this machine.
#pragma once

#include <iosfwd>
#include <memory>
#include <string>

#include "model/transformer.h"
#include "rl/optimizer_format.h"

namespace r1 {

struct TrainBenchCase {
  int prompts = 4, samples = 8, prompt_tokens = 64, new_tokens = 64;
};

struct TrainBenchOptions {
  int repeats = 3;
  std::int64_t tokens_per_micro_batch = 0;  // 0 = 4096 on the CPU, 16384 on the GPU
  bool recompute = false;                   // false: on the GPU, where nothing else fits
  OptimizerWishes optimizer;                // of the GPU
  bool share_prompts = true;  // false: every sample computes its prompt, as peers do
};

// One update (forward, backward, clip, AdamW, repack) on random tokens; prints one JSON line.
void run_train_bench(Transformer& model, const std::string& name, const TrainBenchCase& c, const TrainBenchOptions& options, std::ostream& out);
// Rollout and update, as one step of the trainer; prints one JSON line.
void run_grpo_bench(Transformer& model, const std::string& name, const TrainBenchCase& c, const TrainBenchOptions& options, std::ostream& out);

}  // namespace r1
