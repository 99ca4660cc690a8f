// The rollout interface: requests in, completions out. In process (LocalEngine), over gRPC later.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/rng.h"
#include "core/types.h"
#include "core/weights.h"

namespace r1 {

struct SamplingOptions {
  float temperature = 1.f;      // 0 = greedy
  int top_k = 0;                // 0 = off
  float top_p = 1.f;            // 1 = off
  float min_p = 0.f;            // 0 = off
  int max_new_tokens = 512;     // of the completion, end token included
  std::vector<TokenId> stop_tokens;       // besides the model's end tokens; the stop token is kept in the completion
  std::vector<std::string> stop_strings;  // the completion ends with the token that completes one; text is cut before it
  bool ignore_eos = false;      // benchmarks: run to max_new_tokens
  bool want_entropy = false;    // fill Completion::entropies
  bool want_experts = false;    // fill Completion::experts, where the engine has a mixture of experts
};

using RequestId = std::uint64_t;

// One prompt, `samples` completions. The prompt's KV is computed and stored once.
struct RolloutRequest {
  Prompt prompt;                // tokens is what the model reads
  int samples = 1;
  SamplingOptions sampling;
  DrawKey key;                  // seed, step, prompt; `sample` is the first sample's number
};

struct RolloutEvent {
  enum class Kind : std::uint8_t { kTokens, kFinished } kind = Kind::kFinished;
  RequestId request = 0;
  int sample = 0;               // 0..samples-1
  std::vector<TokenId> tokens;  // kTokens: new since the last event
  std::string text;             // kTokens: whole characters decoded from them
  Completion completion;        // kFinished
  std::vector<float> logprobs;  // kTokens: of `tokens`, nats
};

struct EngineStats {             // since the engine was made
  std::int64_t prompt_tokens = 0, cached_prompt_tokens = 0, generated_tokens = 0;
  std::int64_t decode_steps = 0, decode_rows = 0, preemptions = 0;
  std::int64_t drafted_tokens = 0, accepted_tokens = 0;  // of speculative decoding: checked by a step, and found right
  double busy_s = 0;
  std::int64_t kv_blocks = 0, kv_blocks_peak = 0;
};

// Not thread-safe unless a function says so: one thread submits and waits.
class RolloutEngine {
 public:
  virtual ~RolloutEngine() = default;
  // Queues a request. Throws ConfigError if prompt + max_new_tokens cannot fit the context or the KV cache, naming
  // both numbers and the option to change.
  virtual RequestId submit(RolloutRequest request) = 0;
  // Ends a request: its unfinished samples finish with kAborted. Thread-safe.
  virtual void cancel(RequestId id) = 0;
  // Works until every submitted request has ended; calls on_event on this thread, kFinished once a sample, in any
  // order. With stream = false only kFinished events are made. Throws what the model throws; then every request has ended.
  virtual void wait(const std::function<void(RolloutEvent&&)>& on_event, bool stream = false) = 0;
  // New weights between steps of the engine; cached prompts of older weights are dropped. Thread-safe.
  virtual void load_weights(const WeightSnapshot& snapshot) = 0;
  virtual WeightVersion weight_version() const = 0;
  virtual EngineStats stats() const = 0;
};

// Submits all, waits, returns one group a request in order. `on_group` (may be empty) is called as soon as a group is
// complete, so that scoring overlaps sampling.
std::vector<SampleGroup> generate(RolloutEngine& engine, std::vector<RolloutRequest> requests,
                                  const std::function<void(std::size_t index, const SampleGroup&)>& on_group = {});

}  // namespace r1
