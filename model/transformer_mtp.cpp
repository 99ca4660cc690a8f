// Multi-token prediction of depth 1 (arXiv:2412.19437, section 2.2) as a training loss. Row i of a sequence sees the hidden state of
// row i and the embedding of token i + 1, goes through one layer of its own, and predicts token i + 2 with the model's head:
//   m_i = W_eh [norm_e(emb(t_{i+1})) ; norm_h(norm(h_i))],  p(t_{i+2}) = head(norm_s(layer(m)_i))
// The embedding half comes first, as the released weights want it. Nothing of this touches the forward pass of the model itself.
#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "model/transformer_impl.h"

namespace r1 {

void Transformer::Impl::find_prediction() {
  if (config.num_mtp_layers == 0) return;
  const std::string prefix = message("model.layers.", L, ".");
  prediction = std::make_unique<PredictionWeights>();
  prediction->enorm = &store.find(prefix + "enorm.weight");
  prediction->hnorm = &store.find(prefix + "hnorm.weight");
  prediction->eh = &store.find(prefix + "eh_proj.weight");
  prediction->norm = &store.find(prefix + "shared_head.norm.weight");
}

// The rows that predict: of each sequence all but the last. Targets are the tokens that the batch trains, two ahead.
Transformer::Impl::PredictionBatch Transformer::Impl::prediction_batch(const PackedBatch& batch) const {
  PredictionBatch out;
  std::vector<bool> trained(batch.tokens.size(), false);
  for (const std::int32_t row : batch.predictors) trained[static_cast<std::size_t>(row)] = true;
  for (const cpu::AttentionSequence& s : batch.sequences) {
    if (s.prefix_begin >= 0) throw ConfigError("the multi-token prediction loss needs sequences with prompts of their own, not shared ones");
    const auto begin = static_cast<std::int32_t>(out.batch.tokens.size());
    for (std::int32_t i = s.begin; i + 1 < s.end; ++i) {
      const auto next = static_cast<std::size_t>(i + 1);
      if (trained[next]) out.batch.predictors.push_back(static_cast<std::int32_t>(out.batch.tokens.size()));
      out.batch.tokens.push_back(batch.tokens[next]);
      out.batch.positions.push_back(i - s.begin);
      out.rows.push_back(i);
    }
    out.batch.sequences.push_back({begin, static_cast<std::int32_t>(out.batch.tokens.size()), -1, -1});
  }
  // What row i + 1 predicts in the batch.
  std::vector<TokenId> target_of(batch.tokens.size(), 0);
  for (std::size_t i = 0; i < batch.predictors.size(); ++i) target_of[static_cast<std::size_t>(batch.predictors[i])] = batch.targets[i];
  for (const std::int32_t p : out.batch.predictors)
    out.batch.targets.push_back(target_of[static_cast<std::size_t>(out.rows[static_cast<std::size_t>(p)] + 1)]);
  return out;
}

void Transformer::Impl::prediction_input(std::span<const std::int32_t> rows, const TokenId* next, const float* h_rows, PredictionInput& in) {
  PredictionWeights& p = *prediction;
  const auto n = static_cast<std::int64_t>(rows.size()), size = static_cast<std::int64_t>(esize);
  if (!p.packed) pack(p.eh, D, 2 * D, p.eh_p), p.packed = true;
  in.rstd_e.resize(rows.size()), in.rstd_h.resize(rows.size()), in.rstd_final.resize(rows.size());
  float* embedded = in.embedded.get<float>(n * D);
  embed_rows(next, n, embedded);
  gather_normed(rows, h_rows, in.rstd_final.data());
  in.hidden = normed_as_float(n);
  auto* part = in.part.get<std::byte>(n * D * size);
  auto* both = in.both.get<std::byte>(n * 2 * D * size);
  const auto place = [&](const float* x_rows, const Parameter* norm, float* rstd, std::int64_t column) {
    cpu::rms_norm(pool, x_rows, n, D, w(norm), config.rms_norm_eps, part, type, rstd, gain);
    for (std::int64_t i = 0; i < n; ++i)
      std::memcpy(both + (i * 2 * D + column) * size, part + i * D * size, static_cast<std::size_t>(D * size));
  };
  place(embedded, p.enorm, in.rstd_e.data(), 0);
  place(in.hidden.data(), p.hnorm, in.rstd_h.data(), D);
  gemm(both, n, 2 * D, p.eh_p, in.m.get<float>(n * D), cpu::Type::kF32, cpu::Store::kStore);
}

void Transformer::Impl::prediction_backward(const PackedBatch& whole, const float* h_rows, float* dh, float* grad) {
  if (prediction_weight == 0) return;
  PredictionWeights& p = *prediction;
  const PredictionBatch rows = prediction_batch(whole);
  const PackedBatch& batch = rows.batch;
  const auto n = static_cast<std::int64_t>(rows.rows.size());
  if (batch.predictors.empty()) return;
  const auto size = static_cast<std::int64_t>(esize);
  const auto g = [&](const Parameter* q) { return grad + q->offset; };
  PredictionInput& in = prediction_input_;
  prediction_input(rows.rows, batch.tokens.data(), h_rows, in);
  float* m = in.m.as<float>();
  const AttentionPlan plan = plan_batch(batch);
  replay = {};
  layer_forward(L, n, m, batch.positions.data(), plan, prediction_activations, true);

  // ---- its loss and backward pass
  Buffer dm_b;
  float* dm = dm_b.get<float>(n * D);
  std::memset(dm, 0, static_cast<std::size_t>(n * D) * 4);
  head_norm = p.norm;
  const auto count = static_cast<std::int64_t>(batch.predictors.size());
  logit_loss_backward(batch, m, [&](std::int64_t first, std::int64_t rows_here, float* z) {
    for (std::int64_t i = 0; i < rows_here; ++i) {
      float* row = z + i * V;
      const TokenId target = batch.targets[static_cast<std::size_t>(first + i)];
      const cpu::RowStats stats = cpu::row_stats(row, vocab_limit, 1.f, false);
      prediction_value -= cpu::row_logprob(row, stats, target, 1.f);
      std::vector<float> d(static_cast<std::size_t>(vocab_limit));
      cpu::row_logprob_backward(row, vocab_limit, stats, target, 1.f, -static_cast<float>(prediction_weight), 0.f, d.data(), cpu::Type::kF32);
      std::copy(d.begin(), d.end(), row);
    }
  }, dm, grad);
  head_norm = final_norm;
  prediction_rows += count;
  layer_backward(L, n, dm, batch, prediction_activations, grad);

  const void* dy = dm;
  if (type == cpu::Type::kBF16) {
    cpu::convert(pool, dm, d_t.get<cpu::bf16>(n * D), n * D);
    dy = d_t.data();
  }
  pack_input(in.both.data(), n, 2 * D);
  weight_gradient(dy, D, D, g(p.eh));
  pack_transposed(p.eh, D, 2 * D, p.eh_pt);
  Buffer d_both_b, d_rows_b;
  auto* d_both = d_both_b.get<std::byte>(n * 2 * D * size);
  gemm(dy, n, D, p.eh_pt, d_both, type, cpu::Store::kStore);
  float* d_rows = d_rows_b.get<float>(n * D);
  // The gradient of one half, through its norm, into d_rows.
  const auto take = [&](const float* x_rows, const Parameter* norm, const std::vector<float>& rstd, std::int64_t column) {
    std::byte* part = in.part.data();
    for (std::int64_t i = 0; i < n; ++i)
      std::memcpy(part + i * D * size, d_both + (i * 2 * D + column) * size, static_cast<std::size_t>(D * size));
    std::memset(d_rows, 0, static_cast<std::size_t>(n * D) * 4);
    cpu::rms_norm_backward(pool, x_rows, w(norm), rstd.data(), part, type, n, D, d_rows, g(norm), gain);
  };
  take(in.embedded.as<float>(), p.enorm, in.rstd_e, 0);
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < D; ++j) g(embed)[batch.tokens[static_cast<std::size_t>(i)] * D + j] += embedding_scale * d_rows[i * D + j];
  take(in.hidden.data(), p.hnorm, in.rstd_h, D);
  gather_normed(rows.rows, h_rows, in.rstd_final.data());  // the loss above took its memory
  norm_backward(rows.rows, in.rstd_final.data(), d_rows, dh, grad);
}

void Transformer::set_prediction_loss(double weight) {
  if (weight != 0 && impl_->parallel.experts) throw ConfigError("the multi-token prediction loss and train.expert_parallel do not go together; set train.expert_parallel to 1");
  if (weight != 0 && !impl_->prediction)
    throw ConfigError(message("the multi-token prediction loss needs a model with prediction layers; this ", impl_->config.model_type, " has none"));
  impl_->prediction_weight = weight;
}

void Transformer::keep_drafting_state() {
  if (impl_->parallel.experts) throw ConfigError("rollout.speculative and train.expert_parallel do not go together; set train.expert_parallel to 1");
  if (!impl_->prediction)
    throw ConfigError(message("rollout.speculative: mtp needs a model with a multi-token prediction layer; this ", impl_->config.model_type, " has none"));
  impl_->drafting = true;
}

void Transformer::draft(std::span<const DraftRow> rows, FunctionRef<void(std::size_t, const float*)> on_logits) {
  Impl& m = *impl_;
  R1_CHECK(m.drafting, "drafts of a transformer that keeps nothing for them");
  if (rows.empty()) return;
  const auto n = static_cast<std::int64_t>(rows.size());
  std::vector<std::int32_t> of_step, positions, wanted;
  std::vector<TokenId> next;
  Impl::AttentionPlan plan;
  plan.layer_stride = cpu::kv_block_bytes(m.shape);
  for (const DraftRow& r : rows) {
    R1_CHECK(r.step_row >= 0 && r.step_row < m.step_rows && r.next >= 0 && r.next < m.V, "a draft behind row ", r.step_row, " and token ", r.next);
    if (r.wants_logits) wanted.push_back(static_cast<std::int32_t>(next.size()));
    of_step.push_back(r.step_row), positions.push_back(r.kv.position), next.push_back(r.next), plan.rows.push_back(r.kv);
  }
  m.prediction_input(of_step, next.data(), m.h.as<float>(), m.prediction_input_);
  float* out = m.prediction_input_.m.as<float>();
  m.replay = {};
  m.layer_forward(m.L, n, out, positions.data(), plan, m.scratch, false);
  if (wanted.empty()) return;
  m.head_norm = m.prediction->norm;
  m.gather_normed(wanted, out, nullptr);
  m.head_norm = m.final_norm;
  m.for_logits(m.gathered_x.data(), static_cast<std::int64_t>(wanted.size()), [&](std::int64_t i, const float* z) {
    on_logits(static_cast<std::size_t>(wanted[static_cast<std::size_t>(i)]), z);
  });
}

PredictionLoss Transformer::take_prediction_loss() {
  const PredictionLoss out{impl_->prediction_value, impl_->prediction_rows};
  impl_->prediction_value = 0;
  impl_->prediction_rows = 0;
  return out;
}

}  // namespace r1
