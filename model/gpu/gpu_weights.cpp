#include "model/gpu/gpu_weights.h"

#include <cuda_runtime.h>

#include <memory>
#include <unordered_map>

#include "core/error.h"
#include "core/sum_digest.h"
#include "kernels/gpu/weights.h"
#include "model/element_convert.h"

namespace r1 {
namespace {

void wait(gpu::Stream s) { gpu::check(cudaStreamSynchronize(s), "waiting for the GPU"); }

}  // namespace

GpuWeights::GpuWeights(const ModelConfig& config, gpu::Stream stream) : stream_(stream), parameters_(parameter_layout(config)) {
  const Parameter& last = parameters_.back();
  elements_ = (last.offset + last.elements + 31) / 32 * 32;
  memory_ = gpu::DeviceMemory(static_cast<std::size_t>(elements_) * sizeof(gpu::bf16));
  digest_sum_ = gpu::DeviceMemory(2 * sizeof(std::uint64_t));
  gpu::fill_bytes(stream_, memory_.data(), 0, memory_.bytes());
}

const Parameter& GpuWeights::find(std::string_view name) const {
  for (const Parameter& p : parameters_)
    if (p.name == name) return p;
  throw CheckpointError(message("tensor ", name, " is not a parameter of this model (", parameters_.size(), " parameters)"));
}

void GpuWeights::load(const WeightSnapshot& snapshot) {
  std::unordered_map<std::string_view, const TensorView*> given;
  for (const TensorView& t : snapshot.tensors) given[t.name] = &t;
  if (given.size() != snapshot.tensors.size()) throw CheckpointError("a tensor is there twice");
  for (const Parameter& p : parameters_) {
    const auto it = given.find(p.name);
    if (it == given.end()) throw CheckpointError(message("tensor ", p.name, " is missing"));
    const TensorView& t = *it->second;
    if (t.shape != p.shape) throw CheckpointError(message("tensor ", p.name, " has another shape than the model's"));
    if (t.device >= 0 && t.dtype != DType::kBF16)
      throw CheckpointError(message("tensor ", p.name, " on the device has type ", safetensors_name(t.dtype), "; only BF16 is taken from there"));
    if (t.device < 0 && !is_float_type(t.dtype))
      throw CheckpointError(message("tensor ", p.name, " has type ", safetensors_name(t.dtype), "; supported are F32, F16 and BF16"));
  }
  if (given.size() != parameters_.size()) throw CheckpointError(message(given.size(), " tensors for ", parameters_.size(), " parameters"));
  std::vector<std::byte> converted;
  for (const Parameter& p : parameters_) {
    const TensorView& t = *given.at(p.name);
    if (t.device >= 0) {
      if (t.data != reinterpret_cast<const std::byte*>(at(p)))  // another model's arena
        gpu::copy_on_device(stream_, data() + p.offset, t.data, t.bytes());
      continue;
    }
    const std::byte* from = t.data;
    if (t.dtype != DType::kBF16) {
      converted.resize(static_cast<std::size_t>(p.elements) * 2);
      convert_elements(t.dtype, t.data, DType::kBF16, converted.data(), static_cast<std::size_t>(p.elements));
      from = converted.data();
    }
    gpu::copy_to_device(stream_, data() + p.offset, from, static_cast<std::size_t>(p.elements) * 2);
    wait(stream_);  // `converted` is used again
  }
  wait(stream_);
}

WeightSnapshot GpuWeights::snapshot(WeightVersion version) const {
  WeightSnapshot out;
  out.version = version;
  for (const Parameter& p : parameters_)
    out.tensors.push_back({p.name, DType::kBF16, p.shape, reinterpret_cast<const std::byte*>(at(p)), 0});
  return out;
}

WeightSnapshot GpuWeights::host_snapshot(WeightVersion version) const {
  return download(stream_, parameters_, data(), elements_, DType::kBF16, "", version);
}

WeightDigest GpuWeights::digest() const {
  std::uint64_t sum[2] = {};
  gpu::fill_bytes(stream_, digest_sum_.data(), 0, sizeof sum);
  gpu::digest_words(stream_, data(), elements_ * 2, digest_sum_.as<std::uint64_t>());
  gpu::copy_to_host(stream_, sum, digest_sum_.data(), sizeof sum);
  wait(stream_);
  std::vector<std::string_view> names;
  for (const Parameter& p : parameters_) names.push_back(p.name);
  return digest_of_sums(names, sum[0], sum[1]);
}

void GpuWeights::init_random(std::uint64_t seed, float std) {
  std::uint64_t stream = 0;
  for (const Parameter& p : parameters_) {
    if (p.name.ends_with("norm.weight")) gpu::fill_value(stream_, data() + p.offset, p.elements, 1.f);
    else if (p.name.ends_with(".bias")) gpu::fill_value(stream_, data() + p.offset, p.elements, 0.f);
    else gpu::fill_random(stream_, data() + p.offset, p.elements, seed, stream, std);
    ++stream;
  }
  wait(stream_);
}

WeightSnapshot download(gpu::Stream stream, std::span<const Parameter> parameters, const void* device, std::int64_t elements, DType dtype,
                        const std::string& prefix, WeightVersion version) {
  const std::size_t bytes = static_cast<std::size_t>(elements) * size_of(dtype);
  const std::shared_ptr<std::byte[]> host(new std::byte[bytes]);
  gpu::copy_to_host(stream, host.get(), device, bytes);
  wait(stream);
  WeightSnapshot out;
  out.version = version;
  out.owner = host;
  for (const Parameter& p : parameters)
    out.tensors.push_back({prefix + p.name, dtype, p.shape, host.get() + static_cast<std::size_t>(p.offset) * size_of(dtype), -1});
  return out;
}

}  // namespace r1
