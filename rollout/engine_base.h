// What the engines with a scheduler share: requests and their samples, events, cancellations, new weights between steps. An
// engine of its own adds one step and how weights are taken.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "model/model_config.h"
#include "rollout/block_manager.h"
#include "rollout/completion_builder.h"
#include "rollout/engine.h"
#include "rollout/request_check.h"
#include "rollout/scheduler.h"
#include "text/tokenizer.h"

namespace r1 {

struct LocalEngineOptions {
  int max_rows = 128;               // samples that decode at once; more rows use the cores better and need more KV memory
  std::int64_t kv_cache_bytes = std::int64_t{1} << 30;  // of address space; pages are taken as they are used
  int prefill_tokens_per_step = 512;                    // prompt tokens beside the decoding rows of a step
  bool prefix_cache = true;         // prompts find the blocks of equal beginnings; dropped with every load_weights()
  bool prefix_sharing = true;       // a request's samples share their prompt's blocks; false: each computes its own
  bool recompute_on_new_weights = true;  // load_weights() in the middle of a rollout: unfinished samples are computed
                                         // again under the new weights; false keeps their older keys and values
  bool speculative = false;         // the model's multi-token prediction layer drafts a token that the next step checks: the same completions
  bool poison_kv = false;           // tests: blocks are filled with NaN before their first use
};

class EngineBase : public RolloutEngine {
 public:
  using Options = LocalEngineOptions;
  RequestId submit(RolloutRequest request) override;
  void cancel(RequestId id) override;
  // NumericError names the prompt, sample and position of a NaN. After any error every request has ended.
  void wait(const std::function<void(RolloutEvent&&)>& on_event, bool stream = false) override;
  // Takes effect before the next step; what is in flight is finished first. An error of that belongs to the rollout: wait()
  // throws it, the weights are loaded all the same.
  void load_weights(const WeightSnapshot& snapshot) override;
  WeightVersion weight_version() const override { return version_; }
  EngineStats stats() const override;
  const Options& options() const { return options_; }

 protected:
  static constexpr std::int32_t kNoSlot = -1;
  struct Sample {
    CompletionBuilder builder;
    Sequence* sequence = nullptr;  // until the sample ended
    std::int32_t slot = kNoSlot;   // of the device, for engines that use one
    TokenId draft = -1;            // guess of the token behind the last one; -1 = none
    std::vector<std::uint16_t> experts{};  // of its positions behind the prompt, for engines that keep them here
    int draws = 0;                 // tokens drawn or being drawn, where these may differ from the tokens known
  };
  struct Request {
    RolloutRequest request;
    std::vector<Sample> samples;
    std::vector<std::uint16_t> prompt_experts;  // as a sample's
    int unfinished = 0;
    Sample& of(const Sequence& s) { return samples[static_cast<std::size_t>(s.sample)]; }
  };

  // Throws ConfigError for options out of range. `tokenizer` may be null: then there is no text. End tokens are the model
  // configuration's, or the tokenizer's where that has none.
  EngineBase(std::shared_ptr<const Tokenizer> tokenizer, const Options& options, const ModelConfig& config, std::int32_t blocks,
             std::int32_t block_size);

  // All of these are called with mutex_ held.
  virtual void step() = 0;                       // something is to be done: a request is unfinished or a step in flight
  virtual bool in_flight() const { return false; }  // a step was begun whose draws are not taken
  virtual void drain() {}                        // takes what is in flight
  virtual void discard() noexcept {}             // forgets what is in flight, and who has which slot of the device
  virtual void release_slot(Sample&) {}          // the sample ended
  virtual std::vector<std::uint16_t> experts_of(const Sequence&) const { return {}; }  // Completion::experts of a sample that ends
  virtual void weights_dropped() {}              // the scheduler has taken back what older weights computed
  virtual void install(const WeightSnapshot& snapshot) = 0;
  virtual WeightDigest compute_digest() const = 0;

  const std::shared_ptr<Request>& request_of(const Sequence& s) const { return requests_.at(s.group->request); }
  void learn_digest();  // before a step
  // A token of the sample: into its completion, its statistics and, streaming, an event. The reason if it is the last.
  std::optional<StopReason> add_token(Request& request, const Sequence& sample, TokenId token, float logprob, float entropy, WeightVersion version);
  void end(Request& request, Sequence& sample, StopReason reason);

  std::shared_ptr<const Tokenizer> tokenizer_;
  Options options_;
  BlockManager blocks_;
  Scheduler scheduler_;
  std::unordered_map<RequestId, std::shared_ptr<Request>> requests_;
  std::atomic<WeightVersion> version_{0};
  EngineStats stats_;

 private:
  void apply_cancellations();
  void abandon();

  EngineLimits limits_;
  std::vector<TokenId> end_tokens_;
  RequestId next_id_ = 1;
  WeightDigest digest_{};
  bool digest_known_ = false;
  bool stream_ = false;
  std::vector<RolloutEvent> events_;
  std::exception_ptr failure_;  // of the rollout, met by a thread that loads weights

  // Between steps load_weights() may run on another thread: mutex_ guards everything but the atomics and the cancellations.
  mutable std::mutex mutex_;
  std::condition_variable weights_loaded_;
  std::atomic<int> loads_waiting_{0};
  std::mutex cancel_mutex_;
  std::vector<RequestId> cancelled_;
};

}  // namespace r1
