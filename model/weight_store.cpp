#include "model/weight_store.h"

#include <cstdlib>
#include <cstring>
#include <unordered_map>

#include <sys/mman.h>

#include "core/digest.h"
#include "core/error.h"
#include "core/rng.h"
#include "model/element_convert.h"

namespace r1 {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20, kPage = 4096;  // shares of it are given back by pages (core/pages.h)

std::shared_ptr<std::byte> allocate_zeroed(std::size_t bytes) {
  const std::size_t alignment = bytes >= kHugePage ? kHugePage : kPage;
  const std::size_t size = (bytes + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, size == 0 ? alignment : size);
  if (memory == nullptr)
    throw DeviceError(message("cannot allocate ", bytes, " bytes (", bytes >> 20,
                              " MiB) for the weights; use a smaller model or a machine with more memory"));
  // Advice only: large pages cut TLB misses of weight streaming; refusal costs nothing but speed.
  if (alignment == kHugePage) (void)madvise(memory, size, MADV_HUGEPAGE);
  std::memset(memory, 0, size);
  return {static_cast<std::byte*>(memory), [](std::byte* p) { std::free(p); }};
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

}  // namespace

WeightStore::WeightStore(const ModelConfig& config, DType dtype, const TensorSplit& split)
    : dtype_(dtype), config_(config), split_(split), parameters_(parameter_layout(split_config(config, split))), buffers_(buffer_layout(config)) {
  for (const Parameter& p : split.experts ? parameters_ : parameter_layout(config)) cuts_.push_back(cut_of(config, p.name, p.shape, split));
  for (std::size_t i = 0; i < parameters_.size(); ++i) index_.emplace(parameters_[i].name, i);
  const Parameter none;
  const Parameter& last_buffer = buffers_.empty() ? none : buffers_.back();
  buffer_data_ = std::make_shared<std::vector<float>>(static_cast<std::size_t>(last_buffer.offset + last_buffer.elements), 0.f);
  R1_CHECK(dtype == DType::kF32 || dtype == DType::kBF16, "a weight store holds F32 or BF16, not ", safetensors_name(dtype));
  const Parameter& last = parameters_.back();
  elements_ = (last.offset + last.elements + 31) / 32 * 32;
  data_ = allocate_zeroed(static_cast<std::size_t>(elements_) * size_of(dtype_));
}

const Parameter& WeightStore::find(std::string_view name) const {
  if (const auto it = index_.find(name); it != index_.end()) return parameters_[it->second];
  throw CheckpointError(message("tensor ", name, " is not a parameter of this model (", parameters_.size(),
                                " parameters, the first is ", parameters_.front().name, ")"));
}

bool WeightStore::elsewhere(const std::string& name) const {
  const int owner = expert_owner(config_, name, split_);
  return owner >= 0 && owner != split_.rank;
}

void WeightStore::set(const TensorView& tensor) {
  if (elsewhere(tensor.name)) return;
  if (split_.size > 1 && !split_.experts) {
    const Parameter& p = find(tensor.name);  // models with buffers are not split
    if (const TensorCut& c = cut(p); !c.all && tensor.shape == c.whole && tensor.device == -1) {
      std::vector<std::byte> part(static_cast<std::size_t>(p.elements) * size_of(tensor.dtype));
      c.take(tensor.data, part.data(), size_of(tensor.dtype));
      return set({p.name, tensor.dtype, p.shape, part.data(), -1});
    }
  }
  const Parameter* of_buffer = nullptr;
  for (const Parameter& b : buffers_)
    if (b.name == tensor.name) of_buffer = &b;
  const Parameter& p = of_buffer != nullptr ? *of_buffer : find(tensor.name);
  if (tensor.shape != p.shape)
    throw CheckpointError(message("tensor ", tensor.name, " has shape ", shape_text(tensor.shape), ", the model wants ",
                                  shape_text(p.shape)));
  if (!is_float_type(tensor.dtype))
    throw CheckpointError(message("tensor ", tensor.name, " has type ", safetensors_name(tensor.dtype),
                                  "; supported are F32, F16 and BF16"));
  if (tensor.device != -1)
    throw CheckpointError(message("tensor ", tensor.name, " lies on device ", tensor.device, "; copy it to the host first"));
  if (of_buffer != nullptr) {
    if (tensor.data != reinterpret_cast<const std::byte*>(buffer(p)))
      convert_elements(tensor.dtype, tensor.data, DType::kF32, reinterpret_cast<std::byte*>(buffer(p)), static_cast<std::size_t>(p.elements));
    return;
  }
  if (tensor.dtype == dtype_ && tensor.data == at(p)) return;
  convert_elements(tensor.dtype, tensor.data, dtype_, at(p), static_cast<std::size_t>(p.elements));
}

void WeightStore::load(const WeightSnapshot& snapshot) {
  std::unordered_map<std::string_view, bool> seen;
  for (const Parameter& p : parameters_) seen.emplace(p.name, false);
  for (const Parameter& p : buffers_) seen.emplace(p.name, false);
  for (const TensorView& tensor : snapshot.tensors) {
    const auto it = seen.find(tensor.name);
    if (it == seen.end() && elsewhere(tensor.name)) continue;
    if (it == seen.end()) throw CheckpointError(message("tensor ", tensor.name, " is not a parameter of this model"));
    if (it->second) throw CheckpointError(message("tensor ", tensor.name, " is there twice"));
    it->second = true;
  }
  for (const auto* list : {&parameters_, &buffers_})  // before anything is written, so that a refusal leaves the store as it was
    for (const Parameter& p : *list)
      if (!seen[p.name]) throw CheckpointError(message("tensor ", p.name, " is missing"));
  for (const TensorView& tensor : snapshot.tensors) set(tensor);
}

WeightSnapshot WeightStore::snapshot(WeightVersion version) const {
  WeightSnapshot snapshot;
  snapshot.version = version;
  snapshot.owner = std::make_shared<std::pair<std::shared_ptr<std::byte>, std::shared_ptr<std::vector<float>>>>(data_, buffer_data_);
  snapshot.tensors.reserve(parameters_.size() + buffers_.size());
  for (const Parameter& p : parameters_) snapshot.tensors.push_back({p.name, dtype_, p.shape, at(p), -1});
  for (const Parameter& p : buffers_)
    snapshot.tensors.push_back({p.name, DType::kF32, p.shape, reinterpret_cast<const std::byte*>(buffer(p)), -1});
  return snapshot;
}

WeightDigest WeightStore::digest() const {
  Hasher hash;
  for (const Parameter& p : parameters_) {
    hash.update_field(p.name);
    hash.update_field(safetensors_name(dtype_));
    hash.update(at(p), static_cast<std::size_t>(p.elements) * size_of(dtype_));
  }
  for (const Parameter& p : buffers_) {
    hash.update_field(p.name);
    hash.update_field(safetensors_name(DType::kF32));
    hash.update(buffer(p), static_cast<std::size_t>(p.elements) * sizeof(float));
  }
  return hash.digest();
}

void init_random(WeightStore& store, std::uint64_t seed, float std) {
  // The sum of 16 uniform 16-bit integers is close to normal, and integers round nowhere: equal on every machine.
  constexpr double kMean = 16 * 65535 / 2.0;
  constexpr double kDeviation = 75674.45447441297;  // sqrt(16 (65536^2 - 1) / 12)
  std::uint64_t stream = 0;
  for (const Parameter& p : parameter_layout(store.whole_config())) {
    if (store.elsewhere(p.name)) {
      ++stream;
      continue;
    }
    std::vector<float> values(static_cast<std::size_t>(p.elements), 0.f);
    const bool is_norm = p.name.ends_with("norm.weight");
    if (is_norm) {
      values.assign(values.size(), 1.f);
    } else if (!p.name.ends_with(".bias")) {
      StreamRng rng(seed, stream);
      for (float& value : values) {
        std::uint64_t sum = 0;
        for (int draw = 0; draw < 4; ++draw) {
          const std::uint64_t bits = rng.next();
          sum += (bits & 0xFFFF) + ((bits >> 16) & 0xFFFF) + ((bits >> 32) & 0xFFFF) + (bits >> 48);
        }
        value = static_cast<float>((static_cast<double>(sum) - kMean) / kDeviation * static_cast<double>(std));
      }
    }
    ++stream;
    store.set({p.name, DType::kF32, p.shape, reinterpret_cast<const std::byte*>(values.data()), -1});
  }
}

}  // namespace r1
