// The rollout engine of this process: continuous batching over a Transformer on the CPU.
//
// A request's completions are a function of the weights, the prompt, the sampling options and the draw key alone: the
// same bits whatever is batched with it, in chunks of any size, with or without sharing, caching and preemption. The
// log-probabilities have the bits that Transformer::evaluate() gives for the same tokens.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "kernels/cpu.h"
#include "model/transformer.h"
#include "rollout/block_manager.h"
#include "rollout/engine.h"
#include "rollout/kv_arena.h"
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
  bool poison_kv = false;           // tests: blocks are filled with NaN before their first use
};

class LocalEngine : public RolloutEngine {
 public:
  using Options = LocalEngineOptions;
  // The transformer outlives the engine; its weights are version 0 until load_weights(), and whoever changes them calls
  // load_weights() before the next rollout. Ids that the tokenizer does not know are excluded from sampling
  // (Transformer::set_vocab_limit). `tokenizer` may be null: then there is no text. End tokens are the model
  // configuration's, or the tokenizer's where that has none. Throws ConfigError for options out of range.
  LocalEngine(Transformer& transformer, std::shared_ptr<const Tokenizer> tokenizer, const Options& options = {});
  ~LocalEngine() override;

  RequestId submit(RolloutRequest request) override;
  void cancel(RequestId id) override;
  // NumericError names the prompt, sample and position of a NaN.
  void wait(const std::function<void(RolloutEvent&&)>& on_event, bool stream = false) override;
  // A snapshot of the transformer's own arena is not copied. Takes effect before the next step.
  void load_weights(const WeightSnapshot& snapshot) override;
  WeightVersion weight_version() const override { return version_; }
  EngineStats stats() const override;

  const Options& options() const { return options_; }
  std::size_t kv_block_bytes() const { return arena_.block_bytes(); }

 private:
  struct Request;
  struct Draw;

  static std::int32_t count_blocks(const Transformer& transformer, const Options& options);
  void step(bool stream);
  void build_rows(const StepPlan& plan);
  void draw(std::size_t row, const float* logits);
  void take(Draw& draw, bool stream);
  void end(Request& request, Sequence& sample, StopReason reason, bool stream);
  void apply_cancellations(bool stream);
  void abandon();

  Transformer& model_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  Options options_;
  BlockManager blocks_;
  KvArena arena_;
  Scheduler scheduler_;
  EngineLimits limits_;
  std::vector<TokenId> end_tokens_;

  std::unordered_map<RequestId, std::unique_ptr<Request>> requests_;
  RequestId next_id_ = 1;

  // Between steps load_weights() may run on another thread: mutex_ guards model, scheduler, requests and version.
  mutable std::mutex mutex_;
  std::condition_variable weights_loaded_;
  std::atomic<int> loads_waiting_{0};
  std::atomic<WeightVersion> version_{0};
  WeightDigest digest_{};
  bool digest_known_ = false;
  std::mutex cancel_mutex_;
  std::vector<RequestId> cancelled_;

  // One step's rows, kept to reuse their memory.
  std::vector<Transformer::Row> rows_;
  std::vector<std::byte*> pointers_;          // block tables of the step's sequences, one after another
  std::vector<std::pair<std::int32_t, std::int32_t>> row_draws_;  // [begin, end) in draws_, by row
  std::vector<Draw> draws_;
  std::vector<RolloutEvent> events_;
  EngineStats stats_;
};

}  // namespace r1
