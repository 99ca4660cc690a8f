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

void Transformer::Impl::prediction_backward(const PackedBatch& whole, const float* h_rows, float* dh, float* grad) {
  if (prediction_weight == 0) return;
  const PredictionWeights& p = *prediction;
  const PredictionBatch rows = prediction_batch(whole);
  const PackedBatch& batch = rows.batch;
  const auto n = static_cast<std::int64_t>(rows.rows.size());
  if (batch.predictors.empty()) return;
  const auto size = static_cast<std::int64_t>(esize);
  const auto g = [&](const Parameter* q) { return grad + q->offset; };
  const auto half = [&](std::byte* both, bool second) { return both + (second ? D * size : 0); };
  cpu::PackedMatrix eh_p, eh_pt;
  pack(p.eh, D, 2 * D, eh_p);
  pack_transposed(p.eh, D, 2 * D, eh_pt);

  // ---- forward
  std::vector<float> rstd_final(static_cast<std::size_t>(n)), rstd_e(rstd_final.size()), rstd_h(rstd_final.size());
  Buffer embedded_b, hidden_b, part_b, both_b, m_b;
  float* embedded = embedded_b.get<float>(n * D);
  embed_rows(batch.tokens.data(), n, embedded);
  gather_normed(rows.rows, h_rows, rstd_final.data());
  const std::vector<float> hidden = normed_as_float(n);
  auto* part = part_b.get<std::byte>(n * D * size);
  auto* both = both_b.get<std::byte>(n * 2 * D * size);
  const auto place = [&](bool second) {
    for (std::int64_t i = 0; i < n; ++i)
      std::memcpy(half(both + i * 2 * D * size, second), part + i * D * size, static_cast<std::size_t>(D * size));
  };
  cpu::rms_norm(pool, embedded, n, D, w(p.enorm), config.rms_norm_eps, part, type, rstd_e.data(), gain);
  place(false);
  cpu::rms_norm(pool, hidden.data(), n, D, w(p.hnorm), config.rms_norm_eps, part, type, rstd_h.data(), gain);
  place(true);
  float* m = m_b.get<float>(n * D);
  gemm(both, n, 2 * D, eh_p, m, cpu::Type::kF32, cpu::Store::kStore);
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
  pack_input(both, n, 2 * D);
  weight_gradient(dy, D, D, g(p.eh));
  Buffer d_both_b, d_rows_b;
  auto* d_both = d_both_b.get<std::byte>(n * 2 * D * size);
  gemm(dy, n, D, eh_pt, d_both, type, cpu::Store::kStore);
  float* d_rows = d_rows_b.get<float>(n * D);
  const auto take = [&](bool second) {
    for (std::int64_t i = 0; i < n; ++i)
      std::memcpy(part + i * D * size, half(d_both + i * 2 * D * size, second), static_cast<std::size_t>(D * size));
    std::memset(d_rows, 0, static_cast<std::size_t>(n * D) * 4);
  };
  take(false);
  cpu::rms_norm_backward(pool, embedded, w(p.enorm), rstd_e.data(), part, type, n, D, d_rows, g(p.enorm), gain);
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < D; ++j) g(embed)[batch.tokens[static_cast<std::size_t>(i)] * D + j] += embedding_scale * d_rows[i * D + j];
  take(true);
  cpu::rms_norm_backward(pool, hidden.data(), w(p.hnorm), rstd_h.data(), part, type, n, D, d_rows, g(p.hnorm), gain);
  gather_normed(rows.rows, h_rows, rstd_final.data());  // the loss above took its memory
  norm_backward(rows.rows, rstd_final.data(), d_rows, dh, grad);
}

void Transformer::set_prediction_loss(double weight) {
  if (weight != 0 && !impl_->prediction)
    throw ConfigError(message("the multi-token prediction loss needs a model with prediction layers; this ", impl_->config.model_type, " has none"));
  impl_->prediction_weight = weight;
}

PredictionLoss Transformer::take_prediction_loss() {
  const PredictionLoss out{impl_->prediction_value, impl_->prediction_rows};
  impl_->prediction_value = 0;
  impl_->prediction_rows = 0;
  return out;
}

}  // namespace r1
