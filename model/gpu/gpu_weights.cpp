#include "model/gpu/gpu_weights.h"

#include <cuda_runtime.h>

#include <atomic>
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

GpuWeights::GpuWeights(const ModelConfig& config, gpu::Stream stream)
    : stream_(stream), parameters_(parameter_layout(config)), buffers_(buffer_layout(config)) {
  const Parameter& last = parameters_.back();
  elements_ = (last.offset + last.elements + 31) / 32 * 32;
  memory_ = gpu::DeviceMemory(static_cast<std::size_t>(elements_) * sizeof(gpu::bf16));
  digest_sum_ = gpu::DeviceMemory(2 * sizeof(std::uint64_t));
  gpu::fill_bytes(stream_, memory_.data(), 0, memory_.bytes());
  if (buffers_.empty()) return;
  buffer_elements_ = (buffers_.back().offset + buffers_.back().elements + 3) / 4 * 4;  // whole pieces of 16 bytes
  buffer_memory_ = gpu::DeviceMemory(static_cast<std::size_t>(buffer_elements_) * sizeof(float));
  gpu::fill_bytes(stream_, buffer_memory_.data(), 0, buffer_memory_.bytes());
}

const float* GpuWeights::buffer(std::string_view name) const {
  for (const Parameter& p : buffers_)
    if (p.name == name) return buffer_memory_.as<float>() + p.offset;
  throw CheckpointError(message("tensor ", name, " is not a buffer of this model"));
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
  struct List { const std::vector<Parameter>& parameters; DType dtype; std::byte* to; };
  const List lists[] = {{parameters_, DType::kBF16, memory_.data()}, {buffers_, DType::kF32, buffer_memory_.data()}};
  for (const List& list : lists)
    for (const Parameter& p : list.parameters) {
      const auto it = given.find(p.name);
      if (it == given.end()) throw CheckpointError(message("tensor ", p.name, " is missing"));
      const TensorView& t = *it->second;
      if (t.shape != p.shape) throw CheckpointError(message("tensor ", p.name, " has another shape than the model's"));
      if (t.device >= 0 && t.dtype != list.dtype)
        throw CheckpointError(message("tensor ", p.name, " on the device has type ", safetensors_name(t.dtype), "; only ", safetensors_name(list.dtype), " is taken from there"));
      if (t.device < 0 && !is_float_type(t.dtype))
        throw CheckpointError(message("tensor ", p.name, " has type ", safetensors_name(t.dtype), "; supported are F32, F16 and BF16"));
    }
  if (given.size() != parameters_.size() + buffers_.size())
    throw CheckpointError(message(given.size(), " tensors for ", parameters_.size() + buffers_.size(), " parameters"));
  std::vector<std::byte> converted;
  for (const List& list : lists)
    for (const Parameter& p : list.parameters) {
      const TensorView& t = *given.at(p.name);
      const std::size_t size = size_of(list.dtype), bytes = static_cast<std::size_t>(p.elements) * size;
      std::byte* const to = list.to + static_cast<std::size_t>(p.offset) * size;
      if (t.device >= 0) {
        if (t.data != to) gpu::copy_on_device(stream_, to, t.data, bytes);  // another model's arena
        continue;
      }
      const std::byte* from = t.data;
      if (t.dtype != list.dtype) {
        converted.resize(bytes);
        convert_elements(t.dtype, t.data, list.dtype, converted.data(), static_cast<std::size_t>(p.elements));
        from = converted.data();
      }
      gpu::copy_to_device(stream_, to, from, bytes);
      wait(stream_);  // `converted` is used again
    }
  wait(stream_);
}

WeightSnapshot GpuWeights::snapshot(WeightVersion version) const {
  WeightSnapshot out;
  out.version = version;
  for (const Parameter& p : parameters_)
    out.tensors.push_back({p.name, DType::kBF16, p.shape, reinterpret_cast<const std::byte*>(at(p)), 0});
  for (const Parameter& p : buffers_)
    out.tensors.push_back({p.name, DType::kF32, p.shape, reinterpret_cast<const std::byte*>(buffer_memory_.as<float>() + p.offset), 0});
  return out;
}

WeightSnapshot GpuWeights::host_snapshot(WeightVersion version) const {
  const std::size_t bytes = static_cast<std::size_t>(elements_) * sizeof(gpu::bf16), buffer_bytes = static_cast<std::size_t>(buffer_elements_) * sizeof(float);
  std::shared_ptr<gpu::PinnedMemory> host;
  for (const auto& copy : host_copies_)
    if (copy.use_count() == 1) host = copy;
  std::atomic_thread_fence(std::memory_order_acquire);  // whoever let it go has read it
  if (!host) host = host_copies_.emplace_back(std::make_shared<gpu::PinnedMemory>(bytes + buffer_bytes));
  gpu::copy_to_host(stream_, host->data(), data(), bytes);
  if (buffer_bytes != 0) gpu::copy_to_host(stream_, host->data() + bytes, buffer_memory_.data(), buffer_bytes);
  wait(stream_);
  WeightSnapshot out;
  out.version = version, out.owner = host;
  for (const Parameter& p : parameters_) out.tensors.push_back({p.name, DType::kBF16, p.shape, host->data() + static_cast<std::size_t>(p.offset) * sizeof(gpu::bf16), -1});
  for (const Parameter& p : buffers_)
    out.tensors.push_back({p.name, DType::kF32, p.shape, host->data() + bytes + static_cast<std::size_t>(p.offset) * sizeof(float), -1});
  return out;
}

WeightDigest GpuWeights::digest() const {
  std::uint64_t sum[2] = {};
  gpu::fill_bytes(stream_, digest_sum_.data(), 0, sizeof sum);
  gpu::digest_words(stream_, data(), elements_ * 2, digest_sum_.as<std::uint64_t>());
  if (!buffers_.empty()) gpu::digest_words(stream_, buffer_memory_.data(), buffer_elements_ * 4, digest_sum_.as<std::uint64_t>());
  gpu::copy_to_host(stream_, sum, digest_sum_.data(), sizeof sum);
  wait(stream_);
  std::vector<std::string_view> names;
  for (const auto* list : {&parameters_, &buffers_})
    for (const Parameter& p : *list) names.push_back(p.name);
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
