// What a GPU's memory goes to, decided before anything of it is taken. Arithmetic alone: no GPU is needed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "rl/optimizer_format.h"

namespace r1 {

// Bytes, if not said otherwise.
struct GpuMemoryWishes {
  std::size_t total = 0, free = 0;  // of the device before the program took any
  double share = 0.9;               // of `free` that the program may take
  std::size_t weights = 0, reference = 0;  // 0 = there is none
  std::size_t sent = 0;                    // a copy of the weights for rollout servers, or one that came from a learner
  std::size_t lora = 0;                    // pairs with their optimizer, and the base that they are merged into
  std::size_t rollout = 0;          // a copy of the weights for a rollout beside the learner, which then has memory of its own; 0 = in turns
  std::size_t critic = 0, teacher = 0;     // weights of these; a critic's state too where `formats` is not of it
  std::int64_t trained = 0, tensors = 0;   // elements of the arena that an optimizer holds state for; 0 = none
  OptimizerWishes formats;                 // of that state
  std::int64_t own = -1;                   // of these elements this rank keeps master and moments (train.zero); -1 = of all
  // Of a micro-batch of that many rows; empty = nothing is trained.
  std::function<std::size_t(std::int64_t rows, bool recompute)> training;
  // Of another model's pass over such a micro-batch, in memory of its own (a teacher's rows stay while the student learns); empty = none.
  std::function<std::size_t(std::int64_t rows)> beside;
  std::optional<std::int64_t> tokens_per_micro_batch;  // rows; none = by memory
  std::optional<bool> recompute;                       // none = by memory
  std::int64_t longest_sample = 0;                     // rows; a micro-batch holds at least one
  std::int64_t max_kv_bytes = 0;                       // 0 = all that is there
  std::size_t kv_bytes_per_token = 1;                  // 0 = nothing is sampled
};

struct GpuMemoryPlan {
  std::size_t shared = 0;  // what rollout and learner use in turns; the learner's alone where there is `sampling`
  std::size_t sampling = 0;  // the rollout's own
  std::int64_t beside_rows = 0;  // what the model beside is given memory for, which is not part of `shared`
  std::int64_t tokens_per_micro_batch = 0;
  bool recompute = false;
  OptimizerFormat format;                  // the first that leaves room to learn from kFewRows rows, layers computed twice if need be
  std::size_t optimizer = 0;
  std::size_t used = 0;    // of the device once all is taken, other programs' included
  std::vector<std::string> lines;
};

inline constexpr std::int64_t kFewRows = 2048;  // a micro-batch that still keeps the matrix units busy: below it weights are read more than used
inline constexpr std::int64_t kMaxGpuMicroBatch = 32768;  // rows; more makes nothing faster

// Throws ConfigError, with the numbers and the remedy, where the parts do not fit.
GpuMemoryPlan plan_gpu_memory(const GpuMemoryWishes& wishes);

}  // namespace r1
