// LoraState over a model on the GPU: base, pairs, gradient and moments on the device; nothing but norms goes to the host in an update.
#pragma once

#include "kernels/gpu/lora.h"
#include "rl/gpu_optimizer.h"
#include "rl/lora_state.h"

namespace r1 {

class GpuLora : public LoraState {
 public:
  // `model` holds the base weights, `gradient` is where its backward pass adds to (gradient_only is enough). Both outlive the state.
  GpuLora(GpuTransformer& model, GpuOptimizer& gradient, LoraAdapter adapter);
  // Of device memory, for such an adapter.
  static std::size_t bytes(const LoraAdapter& adapter);

  const LoraAdapter& adapter() const override;
  void take_base(bool clear) override;
  void merge(std::span<const float> mask) override;
  void zero_gradient() override;
  void zero_model_gradient() override { model_gradient_.zero_gradient(); }
  void project(std::span<const float> mask) override;
  double gradient_sum_of_squares() override;
  std::vector<float> gradient() const override { return host(gradient_); }
  void adamw(const AdamWStep& step) override;
  std::optional<NonFinite> find_non_finite(ParameterPart part) override;
  WeightSnapshot optimizer_state() const override;
  void restore_optimizer_state(const WeightSnapshot& state) override;
  void join(Session& session, int zero) override;
  void close_lane() override;
  void finish_gradient() override;

 private:
  std::int64_t size() const { return std::ssize(adapter_.values()); }
  std::vector<float> host(const float* array) const;
  void to_device(float* array, std::span<const float> values);
  const float* on_device(std::span<const float> mask);

  Session* session_ = nullptr;
  int closed_lanes_ = 0;
  GpuTransformer& model_;
  GpuOptimizer& model_gradient_;
  mutable LoraAdapter adapter_;      // the host's copy of the values
  mutable bool host_is_old_ = false;
  gpu::DeviceMemory memory_, scratch_, result_;
  gpu::LoraWork work_;
  float *values_ = nullptr, *gradient_ = nullptr, *exp_avg_ = nullptr, *exp_avg_sq_ = nullptr;  // [size()]
  float* mask_ = nullptr;            // [columns]
  gpu::LoraSlot* slots_ = nullptr;
  gpu::bf16* base_ = nullptr;        // the matrices that have pairs, one behind another
};

}  // namespace r1
