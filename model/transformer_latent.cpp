// Multi-head latent attention (models.md section 6.1) in its absorbed form everywhere: queries are multiplied by the keys' half of
// kv_b, so that all heads attend to the cached latent itself, and the result by the values' half. One form in prefill, decode
// and training is what makes their bits equal (docs/decisions/0013); the naive form differs by rounding.
#include <algorithm>
#include <cstring>

#include "model/transformer_impl.h"

namespace r1 {

namespace {
constexpr float kLatentNormEps = 1e-6f;  // transformers' default, whatever rms_norm_eps says
}

void Transformer::Impl::latent_forward(std::int64_t l, std::int64_t n, const std::byte* x_rows, const std::int32_t* positions,
                                       const AttentionPlan& plan, LayerActivations& a, bool keep, float* h_rows) {
  const LayerWeights& lw = layers[static_cast<std::size_t>(l)];
  const LatentWeights& m = *lw.latent;
  const LatentAttention& s = *config.mla;
  const std::int64_t nope = s.qk_nope_head_dim, r = s.kv_lora_rank, v = s.v_head_dim, W = latent_width, ld = attn_in;
  const auto bytes = [&](std::int64_t width) { return n * width * static_cast<std::int64_t>(esize); };
  const auto at = [&](std::byte* p, std::int64_t element) { return p + static_cast<std::size_t>(element) * esize; };

  auto* down = a.latent.down.get<std::byte>(bytes(down_width));
  gemm(x_rows, n, D, m.down_p, down, type, cpu::Store::kStore);
  std::byte* q = down;
  std::int64_t q_ld = down_width;
  if (m.q_b != nullptr) {
    auto* compressed = a.latent.q_normed.get<std::byte>(bytes(s.q_lora_rank));
    cpu::rms_norm_heads(pool, down, n, 1, s.q_lora_rank, down_width, w(m.q_norm), kLatentNormEps, compressed, s.q_lora_rank, type,
                        keep ? a.latent.rstd_q.get<float>(n) : nullptr);
    q = a.latent.q.get<std::byte>(bytes(q_width));
    q_ld = q_width;
    gemm(compressed, n, s.q_lora_rank, m.q_b_p, q, type, cpu::Store::kStore);
  }
  // A row: H absorbed queries [r + p], then the latent of this position [r + p]; each padded with zeros to the kernel's width.
  auto* rows = a.qkv.get<std::byte>(bytes(ld));
  if (W > s.cached_width()) std::memset(rows, 0, static_cast<std::size_t>(bytes(ld)));
  std::byte* latent = at(rows, H * W);
  const std::int64_t kv_at = down_width - s.cached_width();
  cpu::rms_norm_heads(pool, at(down, kv_at), n, 1, r, down_width, w(m.kv_norm), kLatentNormEps, latent, ld, type,
                      keep ? a.latent.rstd_kv.get<float>(n) : nullptr);
  cpu::rope_part(pool, {1, s.qk_rope_head_dim, down_width, 0, ld, 0, s.interleaved}, at(down, kv_at + r), at(latent, r), n, positions,
                 rope.cos.data(), rope.sin.data(), type);
  cpu::rope_part(pool, {H, s.qk_rope_head_dim, q_ld, hd, ld, W, s.interleaved}, at(q, nope), at(rows, r), n, positions, rope.cos.data(),
                 rope.sin.data(), type);
  for (std::int64_t h = 0; h < H; ++h)
    gemm(at(q, h * hd), n, q_ld, m.key_p[static_cast<std::size_t>(h)], at(rows, h * W), type, cpu::Store::kStore, nullptr, ld);

  write_cache(shape, l, n, latent, latent, ld, plan);
  auto* context = a.latent.context.get<std::byte>(bytes(H * W));
  cpu::attention(pool, shape, rows, ld, plan.rows.data(), n, plan.layer_stride * static_cast<std::size_t>(l), context, H * W,
                 keep ? a.lse.get<float>(n * H) : nullptr);
  auto* attn = a.attn.get<std::byte>(bytes(attn_width));
  for (std::int64_t h = 0; h < H; ++h)
    gemm(at(context, h * W), n, H * W, m.value_p[static_cast<std::size_t>(h)], at(attn, h * v), type, cpu::Store::kStore, nullptr, attn_width);
  gemm(attn, n, attn_width, lw.o_p, h_rows, cpu::Type::kF32, cpu::Store::kAdd);
}

void Transformer::Impl::latent_backward(std::int64_t l, std::int64_t n, const std::byte* x_rows, const void* dy, const PackedBatch& batch,
                                        LayerActivations& a, float* grad, std::byte* dx) {
  const LayerWeights& lw = layers[static_cast<std::size_t>(l)];
  const LatentWeights& m = *lw.latent;
  const LatentAttention& s = *config.mla;
  const std::int64_t nope = s.qk_nope_head_dim, r = s.kv_lora_rank, v = s.v_head_dim, W = latent_width, ld = attn_in, d_ld = (H + 2) * W;
  const auto bytes = [&](std::int64_t width) { return n * width * static_cast<std::int64_t>(esize); };
  const auto at = [&](std::byte* p, std::int64_t element) { return p + static_cast<std::size_t>(element) * esize; };
  const auto g = [&](const Parameter* p) { return grad + p->offset; };

  pack_input(a.attn.data(), n, attn_width);
  weight_gradient(dy, D, D, g(lw.o));
  auto* dattn = d_attn.get<std::byte>(bytes(attn_width));
  gemm(dy, n, D, lw.o_pt, dattn, type, cpu::Store::kStore);
  auto* dcontext = d_context.get<std::byte>(bytes(H * W));
  std::memset(dcontext, 0, static_cast<std::size_t>(bytes(H * W)));  // the rotary part of the context is not used
  for (std::int64_t h = 0; h < H; ++h) {
    gemm(at(dattn, h * v), n, attn_width, m.value_pt[static_cast<std::size_t>(h)], at(dcontext, h * W), type, cpu::Store::kStore, nullptr, H * W);
    pack_input(at(a.latent.context.data(), h * W), n, r, H * W);
    weight_gradient(at(dattn, h * v), attn_width, v, g(m.kv_b) + (h * (nope + v) + nope) * r);
  }

  std::byte* rows = a.qkv.data();
  std::byte* latent = at(rows, H * W);
  auto* d_rows = d_qkv.get<std::byte>(bytes(d_ld));  // queries, the latent as keys, the latent as values
  cpu::attention_backward(pool, shape, rows, latent, latent, ld, a.latent.context.data(), H * W, dcontext, H * W, a.lse.as<float>(),
                          batch.sequences.data(), static_cast<std::int64_t>(batch.sequences.size()), d_rows, at(d_rows, H * W),
                          at(d_rows, (H + 1) * W), d_ld);
  pool.parallel_for(n, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      std::byte *key = at(d_rows, i * d_ld + H * W), *value = at(key, W);
      for (std::int64_t j = 0; j < r; ++j) {
        if (type == cpu::Type::kF32) {
          reinterpret_cast<float*>(key)[j] += reinterpret_cast<float*>(value)[j];
        } else {
          auto* k = reinterpret_cast<cpu::bf16*>(key) + j;
          *k = cpu::to_bf16(cpu::to_float(*k) + cpu::to_float(reinterpret_cast<cpu::bf16*>(value)[j]));
        }
      }
    }
  });

  auto* ddown = d_down.get<std::byte>(bytes(down_width));
  const bool compressed = m.q_b != nullptr;
  std::byte* dq = compressed ? d_q.get<std::byte>(bytes(q_width)) : ddown;
  std::byte* q = compressed ? a.latent.q.data() : a.latent.down.data();
  const std::int64_t q_ld = compressed ? q_width : down_width, kv_at = down_width - s.cached_width();
  for (std::int64_t h = 0; h < H; ++h) {
    gemm(at(d_rows, h * W), n, d_ld, m.key_pt[static_cast<std::size_t>(h)], at(dq, h * hd), type, cpu::Store::kStore, nullptr, q_ld);
    pack_input(at(d_rows, h * W), n, r, d_ld);
    weight_gradient(at(q, h * hd), q_ld, nope, g(m.kv_b) + h * (nope + v) * r);
  }
  const std::int32_t* positions = batch.positions.data();
  cpu::rope_part_backward(pool, {H, s.qk_rope_head_dim, q_ld, hd, d_ld, W, s.interleaved}, at(d_rows, r), at(dq, nope), n, positions,
                          rope.cos.data(), rope.sin.data(), type);
  cpu::rope_part_backward(pool, {1, s.qk_rope_head_dim, down_width, 0, d_ld, 0, s.interleaved}, at(d_rows, H * W + r), at(ddown, kv_at + r), n,
                          positions, rope.cos.data(), rope.sin.data(), type);
  cpu::rms_norm_heads_backward(pool, at(a.latent.down.data(), kv_at), down_width, w(m.kv_norm), a.latent.rstd_kv.as<float>(), at(d_rows, H * W), d_ld,
                               type, n, 1, r, at(ddown, kv_at), down_width, g(m.kv_norm));
  if (compressed) {
    pack_input(a.latent.q_normed.data(), n, s.q_lora_rank);
    weight_gradient(dq, q_width, q_width, g(m.q_b));
    auto* d_normed = d_q_normed.get<std::byte>(bytes(s.q_lora_rank));
    gemm(dq, n, q_width, m.q_b_pt, d_normed, type, cpu::Store::kStore);
    cpu::rms_norm_heads_backward(pool, a.latent.down.data(), down_width, w(m.q_norm), a.latent.rstd_q.as<float>(), d_normed, s.q_lora_rank, type, n,
                                 1, s.q_lora_rank, ddown, down_width, g(m.q_norm));
  }
  pack_input(x_rows, n, D);
  weight_gradient(ddown, down_width, down_width, g(m.down));
  gemm(ddown, n, down_width, m.down_pt, dx, type, cpu::Store::kStore);
}

}  // namespace r1
