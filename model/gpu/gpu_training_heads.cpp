// Heads other than log-probabilities: scalars of rows, losses of whole distributions.
#include <algorithm>

#include "core/error.h"
#include "kernels/gpu/scalar_head.h"
#include "model/gpu/gpu_training_impl.h"

namespace r1 {

// ---- scores -----------------------------------------------------------------------------------------------------------

std::vector<float> GpuTraining::run_scores(const PackedBatch& batch, std::span<const std::int32_t> rows, const float* head, float bias, Pass pass) {
  std::vector<float> out(rows.size());
  if (rows.empty()) {
    pending_.reset();
    return out;
  }
  PackedBatch chosen = batch;
  chosen.predictors.assign(rows.begin(), rows.end());
  chosen.targets.assign(rows.size(), 0);
  Buffers b = run_layers(chosen, pass);
  gpu::scalar_head(model_.stream(), b.x_head, head, bias, b.predictors, model_.shape().d, b.scores);
  gpu::copy_to_host(model_.stream(), out.data(), b.scores, out.size() * sizeof(float));
  model_.synchronize();
  if (pass.keep) keep(pass, std::move(b), 1.f);
  return out;
}

std::vector<float> GpuTraining::evaluate_scores(const PackedBatch& batch, std::span<const std::int32_t> rows, const float* head, float bias) {
  return run_scores(batch, rows, head, bias, {HeadKind::kScores, false, false});
}

std::vector<float> GpuTraining::forward_scores(const PackedBatch& batch, std::span<const std::int32_t> rows, const float* head, float bias, bool recompute) {
  R1_CHECK(!rows.empty(), "a training batch without a score");
  return run_scores(batch, rows, head, bias, {HeadKind::kScores, true, recompute});
}

void GpuTraining::backward_scores(std::span<const float> d_scores, const float* head, GpuGradient grad, float* d_head) {
  const Buffers& b = kept(HeadKind::kScores);
  R1_CHECK(static_cast<std::int64_t>(d_scores.size()) == b.predictors, d_scores.size(), " gradients of ", b.predictors, " scores");
  gpu::copy_to_device(model_.stream(), b.c1, d_scores.data(), d_scores.size() * sizeof(float));
  gpu::scalar_head_backward(model_.stream(), b.x_head, head, b.c1, b.predictors, model_.shape().d, b.d_x, d_head, b.sums);
  layers_backward(b, grad);
}

// ---- distributions ----------------------------------------------------------------------------------------------------

void GpuTraining::train_logits(const PackedBatch& batch, bool recompute, LogitLoss loss, GpuGradient grad) {
  R1_CHECK(!batch.predictors.empty(), "a training batch without a trained token");
  const Pass pass{HeadKind::kDistributions, true, recompute};
  keep(pass, run_layers(batch, pass), 1.f);
  const Buffers& b = kept(HeadKind::kDistributions);
  const GpuShape& s = model_.shape();
  const gpu::Stream stream = model_.stream();
  const gpu::Blas::Matrix head{model_.head(), s.d};
  for (std::int64_t i = 0; i < b.predictors; i += b.head_rows) {
    const std::int64_t c = std::min(b.head_rows, b.predictors - i);
    model_.logits(b.x_head + i * s.d, c, b.logits);
    loss(i, c, b.logits, b.d_logits);
    model_.blas().weight_gradient(stream, {b.d_logits, s.ld_v}, {b.x_head + i * s.d, s.d}, c, s.v, s.d, grad.at(model_.at_head()), grad.out());
    model_.blas().input_gradient(stream, {b.d_logits, s.ld_v}, head, c, s.v, s.d, b.d_x + i * s.d, s.d);
  }
  layers_backward(b, grad);
}

void GpuTraining::prepare_logits(const PackedBatch& batch) {
  R1_CHECK(!batch.predictors.empty(), "logits of no predictor");
  const Pass pass{HeadKind::kDistributions, false, false};
  keep(pass, run_layers(batch, pass), 1.f);
}

const float* GpuTraining::logit_rows(std::int64_t first, std::int64_t count) {
  const Buffers& b = kept(HeadKind::kDistributions);
  R1_CHECK(first >= 0 && count > 0 && count <= b.head_rows && first + count <= b.predictors, "logits of rows [", first, ", ", first + count, ") of ",
           b.predictors, " that were prepared, at most ", b.head_rows, " at a time");
  model_.logits(b.x_head + first * model_.shape().d, count, b.logits);
  return b.logits;
}

}  // namespace r1
