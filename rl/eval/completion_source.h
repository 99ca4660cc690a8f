// Where an evaluation's completions come from: an engine in this process, or a model behind a URL.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "rollout/engine.h"
#include "rollout/text_client.h"

namespace r1 {

// The rollout number that keys an evaluation's draws. No rollout has it: draws never coincide with training's.
inline constexpr std::uint64_t kEvalStep = ~std::uint64_t{0};

// Samples [first, first + count) of one prompt; a greedy one is sample 0 of its own kind.
struct SampleRequest {
  std::size_t prompt = 0;  // into the prompts
  bool greedy = false;
  int first = 0, count = 1;
};

// Called once a sample, in any order; thread-safe if the source says so.
using SampleSink = std::function<void(const SampleRequest& request, int sample, Completion completion)>;

class CompletionSource {
 public:
  virtual ~CompletionSource() = default;
  // Blocks until every sample is there. A sample is a function of seed, prompt index and sample number, not of what else
  // is asked for (as far as the model's server keeps to the seed). Throws Interrupted after a stop signal, with what had
  // ended by then handed on; Error if the model cannot be asked.
  virtual void sample(std::span<const Prompt> prompts, std::span<const SampleRequest> requests, const SamplingOptions& sampling, std::uint64_t seed,
                      const SampleSink& sink) = 0;
};

// Calls the sink on the calling thread. `engine` outlives it and is idle between calls.
std::unique_ptr<CompletionSource> make_engine_source(RolloutEngine& engine);

// Asks up to `concurrency` at a time; the sink is called from their threads, one call at a time. A refusal, or
// `max_failures` failures, stop the asking; then, and for any failure at the end, it throws Error that counts them. A
// completion's tokens are as many zeros as the server counted.
std::unique_ptr<CompletionSource> make_text_source(TextClient client, int concurrency, int max_failures = 10);

}  // namespace r1
