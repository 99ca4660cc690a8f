// Grouped-query attention of one layer, and its gradient.
#include <array>
#include <cstring>

#include "model/transformer_impl.h"

namespace r1 {

cpu::AttentionShape Transformer::Impl::shape_of(std::int64_t l, bool by_heads) const {
  cpu::AttentionShape s = shape;
  if (by_heads) s.heads /= parallel.sequence->size(), s.kv_heads /= parallel.sequence->size();
  s.window = config.has_window(l) ? config.sliding_window : 0;
  return s;
}

void Transformer::Impl::write_cache(const cpu::AttentionShape& s, std::int64_t l, std::int64_t n, const std::byte* k, const std::byte* v,
                                    std::int64_t ld, const AttentionPlan& plan) {
  const std::size_t offset = plan.layer_stride * static_cast<std::size_t>(l);
  cpu::write_kv(pool, s, k, v, n, ld, plan.prefix_rows.empty() ? plan.rows.data() : plan.prefix_rows.data(), offset);
  if (plan.prefix_rows.empty()) return;
  const std::size_t block_bytes = cpu::kv_block_bytes(s);
  for (const auto& [from, to] : plan.copies) std::memcpy(to, from, block_bytes);
  cpu::write_kv(pool, s, k, v, n, ld, plan.own_rows.data(), offset);
}

void Transformer::Impl::attention_forward(std::int64_t l, std::int64_t n, const std::byte* x_rows, const std::int32_t* positions,
                                          const AttentionPlan& plan, LayerActivations& a, bool keep, float* h_rows, float* out) {
  const LayerWeights& lw = layers[static_cast<std::size_t>(l)];
  const auto bytes = [&](std::int64_t width) { return n * width * static_cast<std::int64_t>(esize); };
  auto* qkv = (plan.by_heads ? own_qkv : a.qkv).get<std::byte>(bytes(qkv_width));
  gemm(x_rows, n, D, lw.qkv_p, qkv, type, cpu::Store::kStore, lw.q_bias ? w(lw.q_bias) : nullptr);
  std::byte* k = qkv + static_cast<std::size_t>(q_width) * esize;
  std::byte* v = k + static_cast<std::size_t>(kv_width) * esize;
  if (config.qk_norm) {
    const std::int64_t width = q_width + kv_width;
    if (keep) {
      auto* raw = a.qk_raw.get<std::byte>(bytes(width));
      for (std::int64_t i = 0; i < n; ++i)
        std::memcpy(raw + static_cast<std::size_t>(i * width) * esize, qkv + static_cast<std::size_t>(i * qkv_width) * esize,
                    static_cast<std::size_t>(width) * esize);
    }
    const bool all = config.qk_norm_all_heads;
    cpu::rms_norm_heads(pool, qkv, n, all ? 1 : H, all ? q_width : hd, qkv_width, w(lw.q_norm), config.rms_norm_eps, qkv, qkv_width, type,
                        keep ? a.rstd_q.get<float>(n * H) : nullptr, gain);
    cpu::rms_norm_heads(pool, k, n, all ? 1 : KV, all ? kv_width : hd, qkv_width, w(lw.k_norm), config.rms_norm_eps, k, qkv_width, type,
                        keep ? a.rstd_k.get<float>(n * KV) : nullptr, gain);
  }
  // q and k lie side by side and rotate alike: one call for both.
  const Rope& r = rope_of(l);
  if (config.rotary_dim > 0)
    cpu::rope_part(pool, {H + KV, config.rotary_dim, qkv_width, hd, qkv_width, hd, false}, qkv, qkv, n, positions, r.cos.data(), r.sin.data(), type);
  else
    cpu::rope(pool, qkv, n, H + KV, hd, qkv_width, positions, r.cos.data(), r.sin.data(), 1.f, type);

  const cpu::AttentionShape s = shape_of(l, plan.by_heads);
  auto* attn = a.attn.get<std::byte>(bytes(q_width));
  if (plan.by_heads) {
    const std::int64_t all = row_begins.back(), q = s.heads * hd, kv = s.kv_heads * hd, width = q + 2 * kv;
    auto* heads = a.qkv.get<std::byte>(all * width * static_cast<std::int64_t>(esize));
    to_heads(qkv, std::array{q_width, kv_width, kv_width}, heads);
    const std::byte* k_heads = heads + static_cast<std::size_t>(q) * esize;
    write_cache(s, l, all, k_heads, k_heads + static_cast<std::size_t>(kv) * esize, width, plan);
    auto* result = a.attn_heads.get<std::byte>(all * q * static_cast<std::int64_t>(esize));
    cpu::attention(pool, s, heads, width, plan.rows.data(), all, plan.layer_stride * static_cast<std::size_t>(l), result, q,
                   keep ? a.lse.get<float>(all * s.heads) : nullptr);
    from_heads(result, std::array{q_width}, attn);
  } else {
    write_cache(s, l, n, k, v, qkv_width, plan);
    cpu::attention(pool, s, qkv, qkv_width, plan.rows.data(), n, plan.layer_stride * static_cast<std::size_t>(l), attn, q_width,
                   keep ? a.lse.get<float>(n * H) : nullptr);
  }
  const bool with_bias = lw.o_bias && (!parallel.tensor || parallel.tensor->rank() == 0);  // once in the ranks' sum
  add_shared(n, h_rows, out, [&](float* to, cpu::Store store) {
    gemm(attn, n, q_width, lw.o_p, to, cpu::Type::kF32, store, with_bias ? w(lw.o_bias) : nullptr);
  });
}

void Transformer::Impl::attention_backward(std::int64_t l, std::int64_t n, const std::byte* x_rows, const void* dy, const PackedBatch& batch,
                                           LayerActivations& a, float* grad, std::byte* dx) {
  const LayerWeights& lw = layers[static_cast<std::size_t>(l)];
  const auto bytes = [&](std::int64_t width) { return n * width * static_cast<std::int64_t>(esize); };
  const auto g = [&](const Parameter* p) { return grad + p->offset; };
  pack_input(a.attn.data(), n, q_width);
  weight_gradient(dy, D, D, g(lw.o));
  if (lw.o_bias) bias_gradient(dy, n, D, g(lw.o_bias));
  auto* dattn = d_attn.get<std::byte>(bytes(q_width));
  gemm(dy, n, D, lw.o_pt, dattn, type, cpu::Store::kStore);
  auto* dqkv = d_qkv.get<std::byte>(bytes(qkv_width));
  const std::size_t k_at = static_cast<std::size_t>(q_width) * esize, v_at = k_at + static_cast<std::size_t>(kv_width) * esize;
  const std::byte* qkv = a.qkv.data();
  const std::int32_t* positions = batch.positions.data() + first_row;
  const cpu::AttentionShape s = shape_of(l, parallel.sequence != nullptr);
  const auto sequences = static_cast<std::int64_t>(batch.sequences.size());
  if (parallel.sequence) {
    const std::int64_t all = row_begins.back(), q = s.heads * hd, kv = s.kv_heads * hd, width = q + 2 * kv;
    const std::size_t k_own = static_cast<std::size_t>(q) * esize, v_own = k_own + static_cast<std::size_t>(kv) * esize;
    auto* d_result = d_context.get<std::byte>(all * q * static_cast<std::int64_t>(esize));
    to_heads(dattn, std::array{q_width}, d_result);
    auto* d_heads = d_q.get<std::byte>(all * width * static_cast<std::int64_t>(esize));
    cpu::attention_backward(pool, s, qkv, qkv + k_own, qkv + v_own, width, a.attn_heads.data(), q, d_result, q, a.lse.as<float>(),
                            batch.sequences.data(), sequences, d_heads, d_heads + k_own, d_heads + v_own, width);
    from_heads(d_heads, std::array{q_width, kv_width, kv_width}, dqkv);
  } else {
    cpu::attention_backward(pool, s, qkv, qkv + k_at, qkv + v_at, qkv_width, a.attn.data(), q_width, dattn, q_width, a.lse.as<float>(),
                            batch.sequences.data(), sequences, dqkv, dqkv + k_at, dqkv + v_at, qkv_width);
  }
  const Rope& r = rope_of(l);
  if (config.rotary_dim > 0)
    cpu::rope_part_backward(pool, {H + KV, config.rotary_dim, qkv_width, hd, qkv_width, hd, false}, dqkv, dqkv, n, positions,
                            r.cos.data(), r.sin.data(), type);
  else
    cpu::rope(pool, dqkv, n, H + KV, hd, qkv_width, positions, r.cos.data(), r.sin.data(), -1.f, type);
  if (config.qk_norm) {
    const std::int64_t raw_width = q_width + kv_width;
    const bool all = config.qk_norm_all_heads;
    // The gain is every head's: with the heads shared out, its gradient is a sum over the ranks.
    std::vector<float> shared(parallel.tensor ? static_cast<std::size_t>(2 * hd) : 0, 0.f);
    float* q_grad = parallel.tensor ? shared.data() : g(lw.q_norm);
    float* k_grad = parallel.tensor ? shared.data() + hd : g(lw.k_norm);
    cpu::rms_norm_heads_backward(pool, a.qk_raw.data(), raw_width, w(lw.q_norm), a.rstd_q.as<float>(), dqkv, qkv_width, type, n,
                                 all ? 1 : H, all ? q_width : hd, dqkv, qkv_width, q_grad, gain);
    cpu::rms_norm_heads_backward(pool, a.qk_raw.data() + k_at, raw_width, w(lw.k_norm), a.rstd_k.as<float>(), dqkv + k_at, qkv_width,
                                 type, n, all ? 1 : KV, all ? kv_width : hd, dqkv + k_at, qkv_width, k_grad, gain);
    if (parallel.tensor) {
      parallel.tensor->sum(shared.data(), 2 * hd, "the gradient of query and key norms");
      for (std::int64_t i = 0; i < hd; ++i) g(lw.q_norm)[i] += q_grad[i], g(lw.k_norm)[i] += k_grad[i];
    }
  }
  pack_input(x_rows, n, D);
  weight_gradient(dqkv, qkv_width, qkv_width, g(lw.q));
  if (lw.q_bias) bias_gradient(dqkv, n, qkv_width, g(lw.q_bias));
  input_gradient(dqkv, n, qkv_width, lw.qkv_pt, dx);
}

}  // namespace r1
