// The live weights of a model on the GPU: one bfloat16 arena in the layout of WeightStore, shared by rollout and learner, and its float32
// buffers beside it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "core/weights.h"
#include "kernels/gpu/device.h"
#include "kernels/gpu/gpu.h"
#include "model/weight_store.h"

namespace r1 {

// Calls wait for the device unless they say otherwise. Not thread-safe.
class GpuWeights {
 public:
  // Zeroed. Throws DeviceError if the memory is not there.
  GpuWeights(const ModelConfig& config, gpu::Stream stream);

  std::span<const Parameter> parameters() const { return parameters_; }
  std::int64_t elements() const { return elements_; }  // arena size, padding included
  gpu::bf16* data() { return memory_.as<gpu::bf16>(); }
  const gpu::bf16* data() const { return memory_.as<gpu::bf16>(); }
  const Parameter& find(std::string_view name) const;  // throws CheckpointError
  const gpu::bf16* at(const Parameter& p) const { return data() + p.offset; }
  const float* buffer(std::string_view name) const;  // throws CheckpointError

  // Every parameter and buffer, from host tensors (float32, float16, bfloat16), from this arena itself, which copies nothing, or
  // from another arena of this device that nobody is writing. Throws
  // CheckpointError naming the tensor that is missing, not known or misshapen; then nothing was changed.
  void load(const WeightSnapshot& snapshot);
  // Views of the arena (device 0): for load() of an engine that shares it. Valid while this object lives.
  WeightSnapshot snapshot(WeightVersion version) const;
  // A copy on the host. Its page-locked memory is used again once nobody holds the copy: locking pages takes longer than the copy.
  WeightSnapshot host_snapshot(WeightVersion version) const;
  WeightDigest digest() const;  // of names and bits, computed on the device
  void init_random(std::uint64_t seed, float std);  // the same numbers as r1::init_random()

 private:
  gpu::Stream stream_;
  std::vector<Parameter> parameters_, buffers_;
  std::int64_t elements_ = 0, buffer_elements_ = 0;
  gpu::DeviceMemory memory_, buffer_memory_;
  mutable gpu::DeviceMemory digest_sum_;
  mutable std::vector<std::shared_ptr<gpu::PinnedMemory>> host_copies_;
};

// Host copies of `parameters` lying on the device as one array of `elements` numbers of `dtype`; names get `prefix`.
WeightSnapshot download(gpu::Stream stream, std::span<const Parameter> parameters, const void* device, std::int64_t elements, DType dtype,
                        const std::string& prefix, WeightVersion version);

}  // namespace r1
