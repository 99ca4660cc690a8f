// The one arena of a model's live weights, shared by the rollout engine and the learner, and its twin for gradients.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/weights.h"
#include "model/model_config.h"
#include "model/tensor_split.h"

namespace r1 {

// A parameter's place in the arena. Parameters that one matrix product uses together (q, k, v; gate, up) are adjacent,
// in that order, so that the product sees one weight.
struct Parameter {
  std::string name;                 // HF name
  std::vector<std::int64_t> shape;  // as in HF files
  std::int64_t offset = 0, elements = 0;  // in the arena, in elements
};

// HF names, shapes and arena order of a decoder. The first of such a group, and every parameter outside a group, starts
// at a multiple of 32 elements; inside a group there is no padding.
std::vector<Parameter> parameter_layout(const ModelConfig&);
// Tensors that have no gradient and stay in float32 whatever the arena's type: the routers' correction biases.
std::vector<Parameter> buffer_layout(const ModelConfig&);

// Memory of one type, 64-byte aligned, zeroed. Not copyable; views live as long as the store.
class WeightStore {
 public:
  // dtype: kF32 or kBF16. `split`: the store of one rank of several that share the model's tensors out; parameters are then this rank's
  // parts, and set() and load() take whole tensors as well as parts; experts that other ranks hold are passed over.
  WeightStore(const ModelConfig& config, DType dtype, const TensorSplit& split = {});
  WeightStore(WeightStore&&) noexcept = default;
  WeightStore& operator=(WeightStore&&) noexcept = default;

  DType dtype() const { return dtype_; }
  std::span<const Parameter> parameters() const { return parameters_; }
  std::int64_t elements() const { return elements_; }  // arena size, padding included
  std::byte* data() { return data_.get(); }
  const std::byte* data() const { return data_.get(); }
  const Parameter& find(std::string_view name) const;  // throws CheckpointError
  // Float32 tensors beside the arena; they travel with snapshot(), load(), set() and digest(), an optimizer does not see them.
  std::span<const Parameter> buffers() const { return buffers_; }
  float* buffer(const Parameter& p) { return buffer_data_->data() + p.offset; }
  const float* buffer(const Parameter& p) const { return buffer_data_->data() + p.offset; }
  std::byte* at(const Parameter& p) { return data_.get() + p.offset * static_cast<std::int64_t>(size_of(dtype_)); }
  const std::byte* at(const Parameter& p) const { return data_.get() + p.offset * static_cast<std::int64_t>(size_of(dtype_)); }

  const TensorSplit& split() const { return split_; }
  bool elsewhere(const std::string& name) const;  // an expert's tensor that another rank holds
  const ModelConfig& whole_config() const { return config_; }
  const TensorCut& cut(const Parameter& p) const { return cuts_[static_cast<std::size_t>(&p - parameters_.data())]; }  // p is one of parameters()

  // Copies one tensor in, converting float32, float16, bfloat16. Throws CheckpointError for a wrong shape or type.
  void set(const TensorView& tensor);
  // Sets every parameter; throws CheckpointError naming the first that is missing or not known. A snapshot of this very
  // arena copies nothing.
  void load(const WeightSnapshot& snapshot);
  // Views of the arena; valid while the store lives, contents change with it.
  WeightSnapshot snapshot(WeightVersion version) const;
  WeightDigest digest() const;  // XXH3-128-like strength is not needed: any 128-bit hash of names and bytes

 private:
  DType dtype_;
  ModelConfig config_;  // of the whole model
  TensorSplit split_;
  std::vector<Parameter> parameters_;
  std::vector<TensorCut> cuts_;  // of parameters_
  std::unordered_map<std::string_view, std::size_t> index_;  // of parameters_, whose names outlive it
  std::int64_t elements_ = 0;
  std::shared_ptr<std::byte> data_;
  std::vector<Parameter> buffers_;
  std::shared_ptr<std::vector<float>> buffer_data_;
};

// Fills with N(0, std) from a seed, norms with 1, biases 0: the same numbers everywhere. For tests and tiny models.
void init_random(WeightStore& store, std::uint64_t seed, float std);

}  // namespace r1
