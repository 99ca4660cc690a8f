// Losses of whole distributions: logits of chosen rows a part at a time, and the backward pass from their gradient.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "model/transformer_impl.h"

namespace r1 {

namespace {
// Rows of logits held at a time. Each part reads and writes the head's gradient once, so more rows save memory traffic.
constexpr std::int64_t kLossRows = 256;
}  // namespace

float* Transformer::Impl::head_logits(const std::byte* x_rows, std::int64_t m) {
  pack_head();
  float* out = logits.get<float>(m * V);
  gemm(x_rows, m, D, head_p, out, cpu::Type::kF32, cpu::Store::kStore);
  cap_logits(out, m * V);
  return out;
}

void Transformer::Impl::cap_logits(float* z, std::int64_t count) {
  if (config.logit_softcap == 0) return;
  const auto cap = static_cast<float>(config.logit_softcap);
  constexpr std::int64_t kPiece = 4096;
  pool.parallel_for((count + kPiece - 1) / kPiece, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin * kPiece; i < std::min(count, end * kPiece); ++i) z[i] = cap * std::tanh(z[i] / cap);
  });
}

void Transformer::prepare_logits(const PackedBatch& batch) {
  Impl& m = *impl_;
  m.check_batch(batch);
  R1_CHECK(!m.shares_rows(), "logits of a model whose rows are shared out");
  m.require_whole("prepare_logits()");
  float* h = m.h.get<float>(static_cast<std::int64_t>(batch.tokens.size()) * m.D);
  m.run_layers(batch, h, false, false);
  m.gather_normed(batch.predictors, h, nullptr);
  m.prepared_rows = static_cast<std::int64_t>(batch.predictors.size());
}

const float* Transformer::logit_rows(std::int64_t first, std::int64_t count) {
  Impl& m = *impl_;
  R1_CHECK(first >= 0 && count > 0 && first + count <= m.prepared_rows, "logits of rows [", first, ", ", first + count, ") of ", m.prepared_rows,
           " that were prepared");
  const float* part = m.head_logits(m.gathered_x.data() + static_cast<std::size_t>(first * m.D) * m.esize, count);
  return m.parallel.tensor ? m.gather_logits(count, part) : part;
}

void Transformer::train_logits(const PackedBatch& batch, bool recompute, LogitLoss loss, std::span<float> grad) {
  Impl& m = *impl_;
  m.check_batch(batch);
  R1_CHECK(!batch.predictors.empty(), "a training batch without a trained token");
  R1_CHECK(!m.parallel.any(), "a loss of whole distributions of a model that is shared out");
  m.pending.pass = Impl::Pending::Pass::kLogits;
  m.pending.recompute = recompute;
  m.pending.batch = batch;
  float* h = m.pending.h_out.get<float>(static_cast<std::int64_t>(batch.tokens.size()) * m.D);
  m.run_layers(batch, h, true, recompute);
  m.hold_head();
  float* dh = m.start_backward(Impl::Pending::Pass::kLogits, grad);
  m.logit_loss_backward(m.pending.batch, h, loss, dh, grad.data());
  m.drop_head();
  m.layers_backward(dh, grad.data());
}

void Transformer::Impl::logit_loss_backward(const PackedBatch& batch, const float* h_rows, LogitLoss loss, float* dh, float* grad) {
  const auto n = static_cast<std::int64_t>(batch.predictors.size()), ld = spread_ld(V);
  std::vector<float> rstd(static_cast<std::size_t>(n));
  pack_transposed_head();
  gather_normed(batch.predictors, h_rows, rstd.data());
  float* dx = d_x_sum.get<float>(n * D);
  for (std::int64_t first = 0; first < n; first += kLossRows) {
    const std::int64_t count = std::min(kLossRows, n - first);
    const std::byte* rows = gathered_x.data() + static_cast<std::size_t>(first * D) * esize;
    float* z = head_logits(rows, count);
    std::vector<float> capped;
    if (config.logit_softcap > 0) capped.assign(z, z + count * V);
    loss(first, count, z);
    const auto cap = static_cast<float>(config.logit_softcap);
    for (std::size_t i = 0; i < capped.size(); ++i) z[i] *= 1 - capped[i] / cap * (capped[i] / cap);
    auto* dz = d_logits.get<std::byte>(count * ld * static_cast<std::int64_t>(esize));
    pool.parallel_for(count, 1, [&](std::int64_t b, std::int64_t e) {
      for (std::int64_t i = b; i < e; ++i) {
        std::byte* to = dz + static_cast<std::size_t>(i * ld) * esize;
        const float* from = z + i * V;
        if (type == cpu::Type::kF32) std::memcpy(to, from, static_cast<std::size_t>(vocab_limit) * 4);
        else std::transform(from, from + vocab_limit, reinterpret_cast<cpu::bf16*>(to), [](float v) { return cpu::to_bf16(v); });
        std::memset(to + static_cast<std::size_t>(vocab_limit) * esize, 0, static_cast<std::size_t>(ld - vocab_limit) * esize);
      }
    });
    pack_input(rows, count, D);
    weight_gradient(dz, ld, V, grad + head->offset);
    cpu::GemmArgs back;
    back.a = dz, back.m = count, back.lda = ld, back.a_padded = true;
    back.b = &head_pt;
    back.c = dx + first * D, back.ldc = D;
    cpu::gemm(pool, back);
  }
  norm_backward(batch.predictors, rstd.data(), dx, dh, grad);
}

}  // namespace r1
