// AdamW's state on the device: master, gradient and both moments of a model's weights, each in its format.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "comm/session.h"
#include "kernels/gpu/device.h"
#include "kernels/gpu/packed_adamw.h"
#include "model/gpu/gpu_gradient.h"
#include "model/gpu/gpu_transformer.h"
#include "rl/optimizer_format.h"
#include "rl/parameter_arena.h"
#include "rl/policy.h"

namespace r1 {

// Not thread-safe. The model outlives it. Padding between parameters is 0 in every array. Calls that give something to the host wait.
class GpuOptimizer {
 public:
  // Of several ranks each keeps master and moments of one stretch of the elements (train.zero 1); the gradient is whole.
  struct Shard {
    int index = 0, count = 1;
    Partition partition(std::int64_t elements) const { return {elements, count, Partition::Order::kContiguous}; }
    ElementRange own(std::int64_t elements) const {
      const std::vector<ElementRange> r = partition(elements).owned(index);
      return r.empty() ? ElementRange{} : r.front();
    }
  };
  // With format.offload master and moments lie in pinned memory of the host; the device has room for a few pieces of them.
  // Moments and gradient are 0, the master is the live weights or lies in their cells. Throws DeviceError if the memory is not there,
  // ConfigError for a shard with 8-bit moments, whose blocks it would cut.
  GpuOptimizer(GpuTransformer& model, OptimizerFormat format, MasterStart start, Shard shard);
  GpuOptimizer(GpuTransformer& model, OptimizerFormat format, MasterStart start) : GpuOptimizer(model, format, start, Shard{}) {}

  // One of several ranks from here on: a shard's other owners are reached through it. Calls that look at the whole are then collective.
  void join(Session& session) { session_ = &session; }
  // The gradient becomes the ranks' sum: all of it, or with a shard the owned part.
  void sum_gradient();

  const OptimizerFormat& format() const { return format_; }
  GpuGradient gradient() const;
  void zero_gradient();
  double gradient_sum_of_squares();
  std::vector<float> host_gradient() const;
  // With gradient_only there is no step and no state; a master is never bad.
  void step(const AdamWStep& step);  // and rewrites the live weights
  std::optional<NonFinite> find_non_finite(ParameterPart part);

  // The master anew, after the live weights were loaded: from them, and from tensors of `source` that are float32 on the host.
  void load_master(const WeightSnapshot& source);
  // Host copies: master.NAME float32 whatever its format; exp_avg.NAME and exp_avg_sq.NAME float32, or codes as U8 with the scales of
  // their blocks as exp_avg_scale.NAME and exp_avg_sq_scale.NAME.
  WeightSnapshot state() const;
  // Takes either form; the same one comes back bit for bit, 8-bit moments from float32 are rounded to the nearest code.
  void restore(const WeightSnapshot& state);

 private:
  bool sharded() const { return shard_.count > 1; }
  ElementRange clip(std::int64_t begin, std::int64_t end) const { return {std::max(begin, own_.begin), std::max(std::max(begin, own_.begin), std::min(end, own_.end))}; }
  void share_live();
  WeightSnapshot sharded_state() const;
  void restore_shard(const WeightSnapshot& state);
  struct Moment {
    const char* name;
    bool second;
    float* values = nullptr;  // float32, or
    std::uint8_t *codes = nullptr, *scales = nullptr;
  };
  std::int64_t scale_at(std::size_t tensor) const;  // index of a tensor's first scale
  std::vector<float> host_master(const Parameter& p) const;
  void set_master(const Parameter& p, std::vector<float> values);
  void restore_moment(const Moment& m, std::size_t tensor, const TensorView& values, const TensorView* scales);
  void start_master();
  void lay_out_tensors();
  bool trains() const { return !format_.gradient_only; }
  bool offloaded() const { return format_.offload && trains(); }
  // ---- gpu_optimizer_offload.cpp
  struct Piece {  // [n] of the state on the device, from element `begin` on
    std::int64_t begin = 0, n = 0;
    float* master = nullptr;
    std::int16_t* rest = nullptr;
    float* moments[2] = {nullptr, nullptr};
  };
  struct Offload {
    ~Offload();  // not while copies are on their way
    gpu::PinnedMemory host;
    gpu::OwnedStream in, out;
    gpu::Event came[kOffloadSlots], updated[kOffloadSlots], gone[kOffloadSlots];
    Piece slots[kOffloadSlots];
    std::int64_t next = 0;  // pieces so far
  };
  void lay_out_offload(std::byte* device);
  // work(piece) on the model's stream for pieces of [begin, end): they come before (unless their values are new) and go after.
  void stream_pieces(std::int64_t begin, std::int64_t end, bool come, const std::function<void(const Piece&)>& work);
  void settle() const;  // waits until the host's arrays are complete
  // Between an array of the state, wherever it lies, and the host; they wait.
  void read(void* to, const void* array, std::size_t bytes) const;
  void write(void* array, const void* from, std::size_t bytes);

  GpuTransformer& model_;
  OptimizerFormat format_;
  MasterStart start_;
  std::int64_t elements_;
  Shard shard_;
  ElementRange own_;
  Session* session_ = nullptr;
  gpu::DeviceMemory memory_, scratch_, result_;
  gpu::DeviceMemory tensors_;      // of 8-bit moments: what a launch over all tensors reads, [2][tensors]
  std::int64_t blocks_ = 0;        // of moments, of all tensors
  // Of a shard: where element 0 would lie.
  float* master_ = nullptr;        // or
  std::int16_t* rest_ = nullptr;
  Moment moments_[2];
  void* gradient_ = nullptr;
  std::unique_ptr<Offload> offload_;
};

}  // namespace r1
