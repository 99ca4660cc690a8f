// `r1 bench rollout`: speed of the engine beside the floor that memory bandwidth and arithmetic set.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include "model/transformer.h"
#include "rollout/local_engine.h"
#include "text/tokenizer.h"

namespace r1 {

// `sequences` completions of exactly `new_tokens` (end tokens ignored) at temperature 1, `samples` of each of
// sequences / samples different random prompts.
struct RolloutBenchCase {
  int sequences = 64, prompt_tokens = 64, new_tokens = 64, samples = 1;
  // Beside plain decoding also drafts by the prediction layer: as the weights make them, and where each draft holds (an LM head of zeros: both
  // draws then fall on the same token). From the two: the share of drafts that must hold for them to pay.
  bool speculative = false;
};

struct RolloutBenchOptions {
  int repeats = 3;           // after one warm-up run; the median counts
  double bandwidth = 0;      // bytes/s; 0 = measured: reading the model's weights
  double flops = 0;          // operations/s of the model's type; 0 = measured: a product of [512][2048] with [2048][4096]
  std::uint64_t seed = 1;
  LocalEngineOptions engine;
  std::string commit;        // printed if not empty
};

// Seconds that no implementation on this machine can beat, for prefill and decode together. Prefill: each prompt token
// through the layers, the vocabulary once a prompt. Decode step with mean context c: weights read or multiplied
// (whichever is slower), then keys and values (or latents) read or multiplied. Sampling is left out.
// Of a mixture of experts a step reads all that is no routed expert, and the experts that its tokens meet, distinct_experts() in each
// layer with experts; a token is multiplied by its own experts.
double rollout_floor_seconds(const ModelConfig& config, std::size_t bytes_per_weight, const RolloutBenchCase& c, double bandwidth, double flops);
// Of E experts, K a token, that n tokens meet if all are equally likely: E (1 - (1 - K/E)^n).
double distinct_experts(const MixtureOfExperts& moe, double n);
double measure_bandwidth(ComputePool& pool, const std::byte* data, std::size_t bytes);  // best of a few readings; 8-byte aligned
double measure_flops(ComputePool& pool, cpu::Type type);  // best of a few products

// Prints one JSON line a case, and one for all its drafts. `tokenizer` may be null. Drafts leave a head of zeros behind.
void run_rollout_bench(Transformer& model, const std::shared_ptr<const Tokenizer>& tokenizer, const std::vector<RolloutBenchCase>& cases,
                       const RolloutBenchOptions& options, std::ostream& out);

}  // namespace r1
