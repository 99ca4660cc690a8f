#include "rl/value_model.h"

#include "core/digest.h"
#include "core/error.h"

namespace r1 {
namespace {

LiveWeights live_of(WeightStore& store) { return {store.parameters(), store.data(), store.dtype(), store.elements()}; }

}  // namespace

TransformerValue::TransformerValue(Transformer& backbone, const Options& options)
    : model_(backbone),
      options_(options),
      head_(backbone.config().hidden_size, {options.head_std, options.seed, options.bias}, backbone.pool()),
      arena_(live_of(backbone.weights()), backbone.pool(), options.master_start, options.parts) {}

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

std::vector<float> TransformerValue::scores(std::span<const float> hidden) const { return head_scores(hidden, head_.weight(), head_.bias()); }

std::vector<float> TransformerValue::evaluate(const PackedBatch& batch, std::span<const std::int32_t> rows) {
  return scores(model_.hidden(batch, rows));
}

std::vector<float> TransformerValue::forward(const PackedBatch& batch, std::span<const std::int32_t> rows) {
  hidden_ = model_.forward_hidden(batch, rows, options_.recompute);
  return scores(hidden_);
}

void TransformerValue::backward(std::span<const float> d_scores) {
  const std::span<const float> head = head_.weight();
  const std::size_t d = head.size(), n = d_scores.size();
  R1_CHECK(n > 0 && hidden_.size() == n * d, "gradients of ", n, " scores for ", hidden_.size() / d, " rows");
  std::vector<double> d_head(d, 0.0);
  std::vector<float> d_hidden(n * d);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < d; ++j) {
      d_head[j] += double{d_scores[i]} * hidden_[i * d + j];
      d_hidden[i * d + j] = d_scores[i] * head[j];
    }
  head_.add_gradient(std::span<const double>(d_head), d_scores);
  hidden_.clear();
  model_.backward_hidden(d_hidden, arena_.gradient());
}

void TransformerValue::zero_gradient() {
  arena_.zero_gradient();
  head_.arena().zero_gradient();
}

void TransformerValue::join(Session& session, int zero) {
  if (whole()) arena_.join(session, zero > 0 ? 1 : 0);
  head_.arena().join(session, 0);
}
void TransformerValue::close_lane() {
  if (whole()) arena_.close_lane();
  head_.arena().close_lane();
}
void TransformerValue::finish_gradient() {
  if (whole()) arena_.finish_gradient();
  head_.arena().finish_gradient();
}

double TransformerValue::gradient_sum_of_squares() {
  return (whole() ? arena_.gradient_sum_of_squares() : 0) + head_.arena().gradient_sum_of_squares();
}

std::vector<float> TransformerValue::gradient() const {
  std::vector<float> out(arena_.gradient().begin(), arena_.gradient().end());
  out.insert(out.end(), head_.arena().gradient().begin(), head_.arena().gradient().end());
  return out;
}

void TransformerValue::adamw(const AdamWStep& step) {
  head_.arena().adamw(step);
  if (!whole()) return;
  arena_.adamw(step);
  model_.weights_changed();
}

std::optional<NonFinite> TransformerValue::find_non_finite(ParameterPart part) {
  if (auto bad = arena_.find_non_finite(part)) return bad;
  return head_.arena().find_non_finite(part);
}

WeightSnapshot TransformerValue::optimizer_state() const {
  WeightSnapshot out = arena_.state();
  for (TensorView& t : head_.arena().state().tensors) out.tensors.push_back(std::move(t));
  return out;
}

void TransformerValue::restore_optimizer_state(const WeightSnapshot& state) {
  head_.arena().restore(state);
  if (!whole()) return;
  arena_.restore(state);
  model_.weights_changed();
}

WeightSnapshot TransformerValue::weights(WeightVersion version) const {
  WeightSnapshot out = model_.weights().snapshot(version);
  head_.append_views(out);
  return out;
}

void TransformerValue::load(const WeightSnapshot& weights) {
  std::vector<float> head;
  const WeightSnapshot backbone = head_.split(weights, head);
  model_.weights().load(backbone);
  if (whole()) arena_.load_master(backbone);
  head_.set(head);
  model_.weights_changed();
}

void TransformerValue::load_head(const WeightSnapshot& weights) {
  std::vector<float> head;
  head_.split(weights, head);
  head_.set(head);
}

WeightDigest TransformerValue::digest() const {
  Hasher hasher;
  const WeightDigest backbone = model_.weights().digest();
  hasher.update(backbone.data(), backbone.size());
  hasher.update(head_.values().data(), head_.values().size_bytes());
  return hasher.digest();
}

}  // namespace r1
