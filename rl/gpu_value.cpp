#include "rl/gpu_value.h"

#include "core/digest.h"
#include "core/error.h"

namespace r1 {
namespace {

std::size_t floats(std::int64_t n) { return static_cast<std::size_t>(n) * sizeof(float); }

}  // namespace

GpuValue::GpuValue(GpuTransformer& backbone, GpuRegion& region, const TransformerValue::Options& options, OptimizerFormat format)
    : model_(backbone),
      recompute_(options.recompute),
      head_(backbone.config().hidden_size, {options.head_std, options.seed, options.bias}, pool_),
      training_(backbone, region),
      optimizer_(backbone, format, options.master_start),
      dev_head_(floats(backbone.shape().d)),
      dev_gradient_(floats(backbone.shape().d)) {
  head_changed();
}

void GpuValue::head_changed() {
  gpu::copy_to_device(model_.stream(), dev_head_.data(), head_.weight().data(), head_.weight().size_bytes());
  model_.synchronize();
}

std::vector<float> GpuValue::evaluate(const PackedBatch& batch, std::span<const std::int32_t> rows) {
  return training_.evaluate_scores(batch, rows, dev_head_.as<float>(), head_.bias());
}

std::vector<float> GpuValue::forward(const PackedBatch& batch, std::span<const std::int32_t> rows) {
  return training_.forward_scores(batch, rows, dev_head_.as<float>(), head_.bias(), recompute_);
}

void GpuValue::backward(std::span<const float> d_scores) {
  std::vector<float> d_head(head_.weight().size());
  gpu::fill_bytes(model_.stream(), dev_gradient_.data(), 0, dev_gradient_.bytes());
  training_.backward_scores(d_scores, dev_head_.as<float>(), optimizer_.gradient(), dev_gradient_.as<float>());
  gpu::copy_to_host(model_.stream(), d_head.data(), dev_gradient_.data(), dev_gradient_.bytes());
  model_.synchronize();
  head_.add_gradient(std::span<const float>(d_head), d_scores);
}

void GpuValue::zero_gradient() {
  optimizer_.zero_gradient();
  head_.arena().zero_gradient();
  closed_lanes_ = 0;
}

void GpuValue::join(Session& session, int zero) {
  if (session.world() == 1) return;
  if (zero > 0) throw ConfigError(message("train.zero is ", zero, ": on the GPU a value model's optimizer stays whole on every rank; leave train.zero out"));
  session.device_comm();  // now, while all ranks are here
  if (whole()) optimizer_.join(session);
  head_.arena().join(session, 0);
}

void GpuValue::close_lane() {
  if (++closed_lanes_ > 1) throw ConfigError("train.lanes above the number of ranks needs a gradient a lane, which the GPU's plan has no room for; leave train.lanes out");
}

void GpuValue::finish_gradient() {
  if (whole()) optimizer_.sum_gradient();
  head_.arena().finish_gradient();
}

double GpuValue::gradient_sum_of_squares() {
  return (whole() ? optimizer_.gradient_sum_of_squares() : 0) + head_.arena().gradient_sum_of_squares();
}

std::vector<float> GpuValue::gradient() const {
  std::vector<float> out = optimizer_.host_gradient();
  out.insert(out.end(), head_.arena().gradient().begin(), head_.arena().gradient().end());
  return out;
}

void GpuValue::adamw(const AdamWStep& step) {
  if (whole()) optimizer_.step(step);
  head_.arena().adamw(step);
  head_changed();
}

std::optional<NonFinite> GpuValue::find_non_finite(ParameterPart part) {
  if (auto bad = optimizer_.find_non_finite(part)) return bad;
  return head_.arena().find_non_finite(part);
}

WeightSnapshot GpuValue::optimizer_state() const {
  WeightSnapshot out = optimizer_.state();
  for (TensorView& t : head_.arena().state().tensors) out.tensors.push_back(std::move(t));
  return out;
}

void GpuValue::restore_optimizer_state(const WeightSnapshot& state) {
  if (whole()) optimizer_.restore(state);
  head_.arena().restore(state);
  head_changed();
}

WeightSnapshot GpuValue::weights(WeightVersion version) const {
  WeightSnapshot out = model_.weights().host_snapshot(version);
  head_.append_views(out);
  return out;
}

void GpuValue::load(const WeightSnapshot& weights) {
  std::vector<float> head;
  const WeightSnapshot backbone = head_.split(weights, head);
  model_.weights().load(backbone);
  optimizer_.load_master(backbone);
  head_.set(head);
  head_changed();
}

void GpuValue::load_head(const WeightSnapshot& weights) {
  std::vector<float> head;
  head_.split(weights, head);
  head_.set(head);
  head_changed();
}

WeightDigest GpuValue::digest() const {
  Hasher hasher;
  const WeightDigest backbone = model_.weights().digest();
  hasher.update(backbone.data(), backbone.size());
  hasher.update(head_.values().data(), head_.values().size_bytes());
  return hasher.digest();
}

GpuScorer::GpuScorer(ModelConfig config, std::int64_t rows)
    : model_(std::move(config)),
      memory_(GpuTraining(model_, region_).bytes_needed(rows, rows, {GpuTraining::HeadKind::kScores, false, false})),
      head_(floats(model_.shape().d)),
      region_(memory_),
      training_(model_, region_) {
  gpu::fill_bytes(model_.stream(), head_.data(), 0, head_.bytes());
}

void GpuScorer::set_head(std::span<const float> head) {
  R1_CHECK(head.size_bytes() == head_.bytes(), "a head of ", head.size(), " numbers for a width of ", model_.shape().d);
  gpu::copy_to_device(model_.stream(), head_.data(), head.data(), head.size_bytes());
  model_.synchronize();
}

std::vector<float> GpuScorer::evaluate(const PackedBatch& batch, std::span<const std::int32_t> rows) {
  return training_.evaluate_scores(batch, rows, head_.as<float>(), 0.f);
}

}  // namespace r1
