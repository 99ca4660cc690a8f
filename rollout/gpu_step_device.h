// The GPU as the pipelined engine sees it: steps over KV pages in device memory. Steps of decoding rows alone are CUDA graphs, one a
// bucket of rows, whose inputs lie at fixed places; steps with prefill are launched kernel by kernel.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <vector>

#include "kernels/gpu/attention.h"
#include "model/gpu/gpu_region.h"
#include "model/gpu/gpu_transformer.h"
#include "rollout/step_device.h"

namespace r1 {

struct GpuStepOptions {
  std::int32_t max_decode_rows = 512;
  std::int32_t max_prefill_rows = 8192;  // in one step
  std::int32_t max_logit_rows = 1024;    // held at a time
  std::int64_t max_kv_bytes = 0;         // of the region, for keys and values; 0 = all that the activations leave
  bool graphs = true;
};

class GpuStepDevice : public StepDevice {
 public:
  // `region`: keys, values and the step's activations, nothing of which must survive between rollouts. Throws ConfigError if
  // it does not hold one block. Model and region outlive it.
  GpuStepDevice(GpuTransformer& model, GpuRegion& region, const GpuStepOptions& options = {});
  ~GpuStepDevice() override;

  const ModelConfig& config() const override { return config_; }
  std::int32_t blocks() const override { return pages_ - 1; }
  std::int32_t block_size() const override { return static_cast<std::int32_t>(gpu::kPage); }
  std::int32_t max_decode_rows() const override { return options_.max_decode_rows; }
  std::int32_t max_prefill_rows() const override { return options_.max_prefill_rows; }
  std::int32_t slots() const override { return options_.max_decode_rows; }
  int max_in_flight() const override { return kInFlight; }
  std::int64_t vocab_limit() const override { return model_.vocab_limit(); }
  void set_vocab_limit(std::int64_t limit) override;
  void launch(const DeviceStep& step) override;
  std::span<const DeviceDraw> collect() override;
  void load_weights(const WeightSnapshot& snapshot) override;
  WeightDigest digest() const override { return model_.weights().digest(); }
  std::uint64_t memory_epoch() const override { return region_.epoch; }
  std::int64_t expert_choices() const override { return model_.shape().choices; }
  void read_experts(std::int32_t block, std::int32_t position, std::uint16_t* out) const override;

  std::int64_t page_bytes() const;  // of all layers

 private:
  static constexpr int kInFlight = 2;
  struct Inputs;    // device pointers of one step's arrays
  struct InFlight {
    gpu::PinnedMemory input, output, experts;
    gpu::Event done;
    std::int64_t draws = 0;
    std::vector<std::int32_t> places;                // of its rows: page * kPage + offset
    std::vector<std::int32_t> copy_from, copy_to;    // pages that were copied before its rows ran
  };

  std::int32_t bucket(std::int32_t rows) const;
  bool decode_only(const DeviceStep& step) const;
  void launch_decode(const DeviceStep& step, InFlight& flight);
  void launch_mixed(const DeviceStep& step, InFlight& flight);
  void run_rows(const Inputs& in);
  void sample(const Inputs& in);
  void build_items(const DeviceStep& step, std::vector<std::int32_t>& header);
  void ensure_draws(std::int64_t n);
  void ensure_input(InFlight& flight, std::size_t bytes);
  void keep_experts(const InFlight& flight);
  std::int32_t page_of(const DeviceStep& step, std::int32_t table, std::int32_t position) const;

  GpuTransformer& model_;
  ModelConfig config_;  // the model's, its context as far as the GPU serves it
  const GpuRegion& region_;
  GpuStepOptions options_;
  std::int32_t pages_ = 0;
  gpu::bf16* kv_ = nullptr;
  std::int64_t layer_elements_ = 0;
  GpuLayerBuffers buffers_;
  float *h_ = nullptr, *logits_ = nullptr, *partials_ = nullptr;
  gpu::bf16* x_head_ = nullptr;
  std::int64_t max_slots_ = 0;
  gpu::DeviceMemory counters_, last_token_, identity_, inputs_, drawn_;
  std::size_t inputs_fixed_ = 0;
  int multiprocessors_ = 0;
  std::array<InFlight, kInFlight + 1> flights_;
  int first_ = 0, in_flight_ = 0;
  struct Graph;
  std::map<std::int32_t, Graph> graphs_;
  std::vector<gpu::DecodeItem> items_;
  std::vector<gpu::Draw> draws_;
  std::vector<DeviceDraw> results_;
  gpu::DeviceMemory choices_;                 // [rows][choices] of the step's rows
  std::unique_ptr<std::uint16_t[]> experts_;  // [pages * kPage][choices]: on the host, for the few that ask. Its memory is taken as it is written
};

}  // namespace r1
