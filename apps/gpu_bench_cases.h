// `r1 bench` on the GPU: rollout, training and the whole GRPO step, one JSON line a case with the floor beside it.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>

#include "model/gpu/gpu_transformer.h"
#include "rl/optimizer_format.h"

namespace r1 {

struct GpuBenchCase {
  std::string model, what;  // a name for the line; rollout, train or grpo
  int sequences = 256, prompt = 128, new_tokens = 512, samples = 8;
  std::int64_t micro_batch = 16384;  // rows
  int repeats = 3;                   // after one that warms up; the median counts
  std::optional<bool> recompute;     // none = where the micro-batch does not fit otherwise
  OptimizerWishes optimizer;         // none = the first format that leaves room for a small micro-batch
  bool share_prompts = true;         // false: every sample computes its prompt in training, as peers do
};

// Random prompts, answers of exactly new_tokens. Takes nearly all memory that is free. R1_BENCH_EAGER in the environment turns CUDA
// graphs off, for profilers that want single kernels.
void run_gpu_bench(GpuTransformer& model, const GpuBenchCase& c, std::ostream& out);

}  // namespace r1
