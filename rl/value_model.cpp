#include "rl/value_model.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/digest.h"
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

std::vector<float> start_of_head(std::int64_t width, const TransformerValue::Options& o) {
  std::vector<float> head(static_cast<std::size_t>(width) + (o.bias ? 1 : 0), 0.f);
  if (o.head_std == 0) return head;
  StreamRng rng(o.seed, kHeadStream);
  for (std::int64_t i = 0; i < width; ++i) {  // Box-Muller
    const double radius = std::sqrt(-2 * std::log(rng.uniform()));
    head[static_cast<std::size_t>(i)] = static_cast<float>(o.head_std * radius * std::cos(2 * std::numbers::pi * rng.uniform()));
  }
  return head;
}

LiveWeights live_of(WeightStore& store) { return {store.parameters(), store.data(), store.dtype(), store.elements()}; }
LiveWeights live_of(std::span<const Parameter> parameters, std::vector<float>& values) {
  return {parameters, reinterpret_cast<std::byte*>(values.data()), DType::kF32, static_cast<std::int64_t>(values.size())};
}

}  // namespace

TransformerValue::TransformerValue(Transformer& backbone, const Options& options)
    : model_(backbone),
      options_(options),
      width_(backbone.config().hidden_size),
      head_parameters_(head_layout(width_, options.bias)),
      head_(start_of_head(width_, options)),
      arena_(live_of(backbone.weights()), backbone.pool(), options.master_start),
      head_arena_(live_of(head_parameters_, head_), backbone.pool()) {
  R1_CHECK(options.head_std >= 0, "the head's start has a standard deviation of ", options.head_std);
}

std::vector<float> head_scores(std::span<const float> hidden, std::span<const float> weight, float bias) {
  const std::size_t d = weight.size(), n = hidden.size() / d;
  std::vector<float> out(n);
  for (std::size_t i = 0; i < n; ++i) {
    double sum = bias;
    for (std::size_t j = 0; j < d; ++j) sum += double{weight[j]} * hidden[i * d + j];
    out[i] = static_cast<float>(sum);
  }
  return out;
}

std::vector<float> TransformerValue::scores(std::span<const float> hidden) const {
  const auto d = static_cast<std::size_t>(width_);
  return head_scores(hidden, {head_.data(), d}, options_.bias ? head_[d] : 0.f);
}

std::vector<float> TransformerValue::evaluate(const PackedBatch& batch, std::span<const std::int32_t> rows) {
  return scores(model_.hidden(batch, rows));
}

std::vector<float> TransformerValue::forward(const PackedBatch& batch, std::span<const std::int32_t> rows) {
  hidden_ = model_.forward_hidden(batch, rows, options_.recompute);
  return scores(hidden_);
}

void TransformerValue::backward(std::span<const float> d_scores) {
  const std::size_t d = static_cast<std::size_t>(width_), n = d_scores.size();
  R1_CHECK(n > 0 && hidden_.size() == n * d, "gradients of ", n, " scores for ", hidden_.size() / d, " rows");
  const std::span<float> grad = head_arena_.gradient();
  std::vector<double> d_head(d, 0.0);
  std::vector<float> d_hidden(n * d);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < d; ++j) {
      d_head[j] += double{d_scores[i]} * hidden_[i * d + j];
      d_hidden[i * d + j] = d_scores[i] * head_[j];
    }
  for (std::size_t j = 0; j < d; ++j) grad[j] = static_cast<float>(grad[j] + d_head[j]);
  if (options_.bias) {
    double sum = 0;
    for (float v : d_scores) sum += v;
    grad[d] = static_cast<float>(grad[d] + sum);
  }
  hidden_.clear();
  model_.backward_hidden(d_hidden, arena_.gradient());
}

void TransformerValue::zero_gradient() {
  arena_.zero_gradient();
  head_arena_.zero_gradient();
}

double TransformerValue::gradient_sum_of_squares() {
  return arena_.gradient_sum_of_squares() + head_arena_.gradient_sum_of_squares();
}

std::vector<float> TransformerValue::gradient() const {
  std::vector<float> out(arena_.gradient().begin(), arena_.gradient().end());
  out.insert(out.end(), head_arena_.gradient().begin(), head_arena_.gradient().end());
  return out;
}

void TransformerValue::adamw(const AdamWStep& step) {
  arena_.adamw(step);
  head_arena_.adamw(step);
  model_.weights_changed();
}

std::optional<NonFinite> TransformerValue::find_non_finite(ParameterPart part) {
  if (auto bad = arena_.find_non_finite(part)) return bad;
  return head_arena_.find_non_finite(part);
}

WeightSnapshot TransformerValue::optimizer_state() const {
  WeightSnapshot out = arena_.state();
  for (TensorView& t : head_arena_.state().tensors) out.tensors.push_back(std::move(t));
  return out;
}

void TransformerValue::restore_optimizer_state(const WeightSnapshot& state) {
  arena_.restore(state);
  head_arena_.restore(state);
  model_.weights_changed();
}

WeightSnapshot TransformerValue::weights(WeightVersion version) const {
  WeightSnapshot out = model_.weights().snapshot(version);
  for (const Parameter& p : head_parameters_)
    out.tensors.push_back({p.name, DType::kF32, p.shape, reinterpret_cast<const std::byte*>(head_.data() + p.offset), -1});
  return out;
}

void TransformerValue::load(const WeightSnapshot& weights) {
  WeightSnapshot backbone{weights.version, {}, weights.owner};
  std::vector<float> head(head_.size());
  std::size_t found = 0;
  for (const TensorView& t : weights.tensors) {
    const auto p = std::find_if(head_parameters_.begin(), head_parameters_.end(), [&](const Parameter& q) { return q.name == t.name; });
    if (p == head_parameters_.end()) {
      backbone.tensors.push_back(t);
      continue;
    }
    if (t.elements() != p->elements || !is_float_type(t.dtype))
      throw CheckpointError(message(t.name, " has ", t.elements(), " elements of ", safetensors_name(t.dtype), ", a head of this backbone has ",
                                    p->elements, " floats (one score a text)"));
    convert_elements(t.dtype, t.data, DType::kF32, head.data() + p->offset, static_cast<std::size_t>(p->elements));
    ++found;
  }
  if (found != head_parameters_.size())
    throw CheckpointError(message("these weights lack ", kWeight, options_.bias ? " or score.bias" : "", ": they are those of a language model, not of a scorer"));
  model_.weights().load(backbone);
  arena_.load_master(backbone);
  std::copy(head.begin(), head.end(), head_.begin());  // the arena looks at this memory
  model_.weights_changed();
}

WeightDigest TransformerValue::digest() const {
  Hasher hasher;
  const WeightDigest backbone = model_.weights().digest();
  hasher.update(backbone.data(), backbone.size());
  hasher.update(head_.data(), head_.size() * sizeof(float));
  return hasher.digest();
}

}  // namespace r1
