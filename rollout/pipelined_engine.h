// The rollout engine over a StepDevice: while the device runs a step, the host plans and launches the next one, then reads the
// first one's tokens. Planning needs no token's value: the device feeds each slot's newest token to the slot's next row.
//
// Completions are a function of weights, prompt, options and draw key, as LocalEngine's. A sample whose end the host learns of one
// step late has one row in vain; its draw is ignored.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "rollout/engine.h"
#include "rollout/local_engine.h"
#include "rollout/request_check.h"
#include "rollout/scheduler.h"
#include "rollout/step_device.h"
#include "text/tokenizer.h"

namespace r1 {

class PipelinedEngine : public RolloutEngine {
 public:
  // Of the options, kv_cache_bytes and poison_kv are the device's business and not read. max_rows and prefill_tokens_per_step are
  // lowered to what the device holds. Device outlives the engine; `tokenizer` may be null: then there is no text.
  using Options = LocalEngineOptions;
  PipelinedEngine(StepDevice& device, std::shared_ptr<const Tokenizer> tokenizer, const Options& options = {});
  ~PipelinedEngine() override;

  RequestId submit(RolloutRequest request) override;
  void cancel(RequestId id) override;
  void wait(const std::function<void(RolloutEvent&&)>& on_event, bool stream = false) override;
  void load_weights(const WeightSnapshot& snapshot) override;
  WeightVersion weight_version() const override { return version_; }
  EngineStats stats() const override;
  const Options& options() const { return options_; }

 private:
  struct Request;
  struct Draw {
    std::shared_ptr<Request> request;
    int sample = 0;
    std::size_t index = 0;  // of the token in the sample's tokens
    bool closing = false;   // it is the last that the sample may have
  };
  struct Step {
    std::vector<Draw> draws;
    WeightVersion version = 0;
    bool unslotted = false;  // a draw is remembered by no slot
  };

  bool launch_step();
  void build_rows(const StepPlan& plan, Step& step);
  void add_sequence(const Chunk& chunk, bool decode);
  void add_draws(const Chunk& chunk, std::int32_t row, Step& step);
  void collect_step();
  void drain();
  void take(const Draw& draw, const DeviceDraw& drawn, WeightVersion version);
  void end(Request& request, Sequence& sample, StopReason reason);
  void apply_cancellations();
  void abandon();
  Request& request_of(const Sequence& sequence) const { return *requests_.at(sequence.group->request); }

  StepDevice& device_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  Options options_;
  BlockManager blocks_;
  Scheduler scheduler_;
  EngineLimits limits_;
  std::vector<TokenId> end_tokens_;
  std::unordered_map<RequestId, std::shared_ptr<Request>> requests_;
  RequestId next_id_ = 1;
  std::vector<std::int32_t> free_slots_;
  std::deque<Step> in_flight_;
  std::vector<Step> spare_steps_;  // their memory is used again
  DeviceStep rows_;
  std::uint64_t memory_epoch_ = 0;
  bool stream_ = false;

  // Between steps load_weights() may run on another thread: mutex_ guards everything but what is below.
  mutable std::mutex mutex_;
  std::condition_variable weights_loaded_;
  std::atomic<int> loads_waiting_{0};
  std::atomic<WeightVersion> version_{0};
  WeightDigest digest_{};
  bool digest_known_ = false;
  std::mutex cancel_mutex_;
  std::vector<RequestId> cancelled_;
  std::vector<RolloutEvent> events_;
  EngineStats stats_;
};

}  // namespace r1
