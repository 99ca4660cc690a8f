// The rollout engine over a StepDevice: while the device runs a step, the host plans and launches the next one, then reads the
// first one's tokens. Planning needs no token's value: the device feeds each slot's newest token to the slot's next row.
//
// Completions are a function of weights, prompt, options and draw key, as LocalEngine's. A sample whose end the host learns of one
// step late has one row in vain; its draw is ignored.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "rollout/engine_base.h"
#include "rollout/step_device.h"

namespace r1 {

class PipelinedEngine : public EngineBase {
 public:
  // Of the options, kv_cache_bytes and poison_kv are the device's business and not read. max_rows and prefill_tokens_per_step are
  // lowered to what the device holds. Device outlives the engine.
  PipelinedEngine(StepDevice& device, std::shared_ptr<const Tokenizer> tokenizer, const Options& options = {});
  std::size_t free_slots() const { return free_slots_.size(); }  // between steps, on the thread that waits

 private:
  struct Draw {
    std::shared_ptr<Request> request;
    int sample = 0;
    std::size_t index = 0;  // of the token in the sample's tokens
    bool closing = false;   // it is the last that the sample may have
  };
  // Positions whose experts are to be kept when the step is collected: a sample may have lost its blocks by the time it ends.
  struct Met {
    std::shared_ptr<Request> request;
    int sample = 0;  // kPrompt: of the prompt
    std::int32_t prompt_length = 0, begin = 0, end = 0;
    std::vector<BlockId> blocks;
  };
  struct Step {
    std::vector<Draw> draws;
    WeightVersion version = 0;
    bool unslotted = false;  // a draw is remembered by no slot
    std::vector<Met> met;
  };

  void step() override;
  bool in_flight() const override { return !in_flight_.empty(); }
  void drain() override;
  void discard() noexcept override;
  void release_slot(Sample& sample) override;
  void weights_dropped() override { free_idle_slots(); }
  void install(const WeightSnapshot& snapshot) override { device_.load_weights(snapshot); }
  WeightDigest compute_digest() const override { return device_.digest(); }

  bool launch_step();
  void build_rows(const StepPlan& plan, Step& step);
  void add_sequence(const Chunk& chunk, bool decode);
  void add_draws(const Chunk& chunk, std::int32_t row, Step& step);
  void collect_step();
  void take(const Draw& draw, const DeviceDraw& drawn, WeightVersion version);
  std::vector<std::uint16_t> experts_of(const Sequence& sample) const override;
  void keep_experts(const Step& step);
  void free_idle_slots();
  void free_all_slots();

  StepDevice& device_;
  std::vector<std::int32_t> free_slots_;
  std::deque<Step> in_flight_;
  std::vector<Step> spare_steps_;  // their memory is used again
  DeviceStep rows_;
  std::uint64_t memory_epoch_ = 0;
};

}  // namespace r1
