// A StepDevice over the CPU's Transformer, for tests of the pipelined engine: steps are computed when they are launched, their draws
// handed out when they are collected, as late as a GPU's.
#pragma once

#include <deque>

#include "kernels/cpu.h"
#include "model/transformer.h"
#include "rollout/kv_arena.h"
#include "rollout/step_device.h"

namespace r1::test {

class CpuStepDevice : public StepDevice {
 public:
  CpuStepDevice(Transformer& model, std::int32_t blocks, std::int32_t rows = 64, std::int32_t slots = 64)
      : model_(model), arena_(blocks, model.kv_block_bytes()), blocks_(blocks), rows_(rows), last_(static_cast<std::size_t>(slots), 0) {}
  const ModelConfig& config() const override { return model_.config(); }
  std::int32_t blocks() const override { return blocks_; }
  std::int32_t block_size() const override { return cpu::kKvBlock; }
  std::int32_t max_decode_rows() const override { return rows_; }
  std::int32_t max_prefill_rows() const override { return 512; }
  std::int32_t slots() const override { return static_cast<std::int32_t>(last_.size()); }
  int max_in_flight() const override { return 2; }
  std::int64_t vocab_limit() const override { return model_.vocab_limit(); }
  void set_vocab_limit(std::int64_t limit) override { model_.set_vocab_limit(limit); }
  void launch(const DeviceStep& step) override;
  std::span<const DeviceDraw> collect() override;
  void load_weights(const WeightSnapshot& snapshot) override;
  WeightDigest digest() const override { return model_.weights().digest(); }
  std::uint64_t memory_epoch() const override { return epoch; }
  std::int64_t expert_choices() const override { return model_.expert_choices(); }
  void read_experts(std::int32_t block, std::int32_t position, std::uint16_t* out) const override;

  std::uint64_t epoch = 0;

 private:
  Transformer& model_;
  KvArena arena_;
  std::int32_t blocks_, rows_;
  std::vector<TokenId> last_;
  // What a launched step will show when it is collected: later steps may use its blocks again before that.
  struct Launched {
    std::vector<DeviceDraw> draws;
    std::vector<std::int32_t> copy_from, copy_to;
    std::vector<std::int64_t> places;    // of its rows: block * block size + offset
    std::vector<std::uint16_t> experts;  // [rows][choices]
  };
  std::deque<Launched> in_flight_;
  std::vector<std::uint16_t> experts_;   // [blocks][block size][choices], of collected steps
  std::vector<DeviceDraw> collected_;
};

}  // namespace r1::test
