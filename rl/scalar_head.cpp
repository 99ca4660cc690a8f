#include "rl/scalar_head.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"
#include "core/rng.h"
#include "model/element_convert.h"

namespace r1 {
namespace {

constexpr const char *kWeight = "score.weight", *kBias = "score.bias";
constexpr std::uint64_t kHeadStream = 0x68656164;  // of the head's start

std::vector<Parameter> head_layout(std::int64_t width, bool bias) {
  std::vector<Parameter> out = {{kWeight, {1, width}, 0, width}};
  if (bias) out.push_back({kBias, {1}, width, 1});
  return out;
}

std::vector<float> start_of_head(std::int64_t width, const ScalarHead::Options& o) {
  R1_CHECK(o.std >= 0, "the head's start has a standard deviation of ", o.std);
  std::vector<float> head(static_cast<std::size_t>(width) + (o.bias ? 1 : 0), 0.f);
  if (o.std == 0) return head;
  StreamRng rng(o.seed, kHeadStream);
  for (std::int64_t i = 0; i < width; ++i) {  // Box-Muller
    const double radius = std::sqrt(-2 * std::log(rng.uniform()));
    head[static_cast<std::size_t>(i)] = static_cast<float>(o.std * radius * std::cos(2 * std::numbers::pi * rng.uniform()));
  }
  return head;
}

}  // namespace

ScalarHead::ScalarHead(std::int64_t width, const Options& options, ComputePool& pool)
    : width_(width),
      bias_(options.bias),
      parameters_(head_layout(width, options.bias)),
      values_(start_of_head(width, options)),
      arena_({parameters_, reinterpret_cast<std::byte*>(values_.data()), DType::kF32, static_cast<std::int64_t>(values_.size())}, pool) {}

void ScalarHead::append_views(WeightSnapshot& out) const {
  for (const Parameter& p : parameters_)
    out.tensors.push_back({p.name, DType::kF32, p.shape, reinterpret_cast<const std::byte*>(values_.data() + p.offset), -1});
}

WeightSnapshot ScalarHead::split(const WeightSnapshot& weights, std::vector<float>& values) const {
  WeightSnapshot backbone{weights.version, {}, weights.owner};
  values.assign(values_.size(), 0.f);
  std::size_t found = 0;
  for (const TensorView& t : weights.tensors) {
    const auto p = std::find_if(parameters_.begin(), parameters_.end(), [&](const Parameter& q) { return q.name == t.name; });
    if (p == parameters_.end()) {
      backbone.tensors.push_back(t);
      continue;
    }
    if (t.elements() != p->elements || !is_float_type(t.dtype))
      throw CheckpointError(message(t.name, " has ", t.elements(), " elements of ", safetensors_name(t.dtype), ", a head of this backbone has ",
                                    p->elements, " floats (one score a text)"));
    convert_elements(t.dtype, t.data, DType::kF32, values.data() + p->offset, static_cast<std::size_t>(p->elements));
    ++found;
  }
  if (found != parameters_.size())
    throw CheckpointError(message("these weights lack ", kWeight, bias_ ? " or score.bias" : "",
                                  ": they are those of a language model, not of a scorer"));
  return backbone;
}

void ScalarHead::set(std::span<const float> values) {
  R1_CHECK(values.size() == values_.size(), "a head of ", values.size(), " numbers for one of ", values_.size());
  std::copy(values.begin(), values.end(), values_.begin());  // the arena looks at this memory
}

}  // namespace r1
