#include "model/gpu/gpu_latent.h"

#include "core/error.h"
#include "kernels/gpu/norms.h"
#include "model/gpu/gpu_region.h"

namespace r1 {

namespace {
constexpr float kLatentNormEps = 1e-6f;  // transformers' default, whatever rms_norm_eps says
}

GpuLatentAttention::GpuLatentAttention(const GpuWeights& weights, const ModelConfig& c, std::int64_t layer)
    : shape_(*c.mla), d_(c.hidden_size), heads_(c.num_attention_heads), head_dim_(c.head_dim), scale_(static_cast<float>(c.score_scale())) {
  const LatentAttention& m = shape_;
  if (m.kv_lora_rank != gpu::kLatentRank || m.qk_rope_head_dim != gpu::kLatentRope || m.qk_nope_head_dim % 64 != 0 || m.v_head_dim % 64 != 0 || m.q_lora_rank % 8 != 0)
    throw ConfigError(message("the GPU path knows latents of ", gpu::kLatentRank, " + ", gpu::kLatentRope, " numbers and heads of multiples of 64; this model has ",
                              m.kv_lora_rank, " + ", m.qk_rope_head_dim, ", heads of ", m.qk_nope_head_dim, " and ", m.v_head_dim, "; use device: cpu"));
  const std::string attention = message("model.layers.", layer, ".self_attn.");
  const auto find = [&](const char* name) -> const Parameter& { return weights.find(attention + name); };
  const bool compressed = m.q_lora_rank > 0;
  const Parameter& down = find(compressed ? "q_a_proj.weight" : "q_proj.weight");
  R1_CHECK(find("kv_a_proj_with_mqa.weight").offset == down.offset + down.elements, "the down projections are not adjacent");
  down_ = weights.at(down);
  if (compressed) q_norm_ = weights.at(find("q_a_layernorm.weight")), q_b_ = weights.at(find("q_b_proj.weight"));
  kv_norm_ = weights.at(find("kv_a_layernorm.weight")), kv_b_ = weights.at(find("kv_b_proj.weight"));
}

void GpuLatentAttention::forward(gpu::Stream s, gpu::Blas& blas, std::int64_t n, const gpu::bf16* x, const std::int32_t* positions, const float* cos,
                                 const float* sin, const GpuAttentionWork& work, const GpuLatentBuffers& b, gpu::bf16* rows, gpu::bf16* attn) const {
  const std::int64_t nope = shape_.qk_nope_head_dim, v = shape_.v_head_dim, r = gpu::kLatentRank, ld = (heads_ + 1) * gpu::kLatentWidth;
  const std::int64_t q_width = heads_ * head_dim_, first = q_b_ != nullptr ? shape_.q_lora_rank : q_width, down_width = first + shape_.cached_width();
  blas.forward(s, {x, d_}, {down_, d_}, n, down_width, d_, b.down, down_width, gpu::Out::kBf16);
  const gpu::bf16 *q = b.down, *kv = b.down + first;
  std::int64_t ld_q = down_width;
  if (q_b_ != nullptr) {
    gpu::rms_norm_part(s, b.down, down_width, n, first, q_norm_, kLatentNormEps, b.q_normed, first);
    blas.forward(s, {b.q_normed, first}, {q_b_, first}, n, q_width, first, b.q, q_width, gpu::Out::kBf16);
    q = b.q, ld_q = q_width;
  }
  gpu::bf16* latent = rows + heads_ * gpu::kLatentWidth;
  gpu::rms_norm_part(s, kv, down_width, n, r, kv_norm_, kLatentNormEps, latent, ld);
  gpu::LatentRopeArgs rope;
  rope.q = q, rope.ld_q = ld_q, rope.key = kv + r, rope.ld_key = down_width, rope.heads = heads_, rope.head_dim = head_dim_, rope.nope = nope;
  rope.interleaved = shape_.interleaved, rope.positions = positions, rope.cos = cos, rope.sin = sin, rope.rows = rows;
  gpu::latent_rope(s, rope, n);
  gpu::HeadProduct keys;
  keys.x = q, keys.ldx = ld_q, keys.x_pitch = head_dim_, keys.w = kv_b_, keys.w_pitch = (nope + v) * r, keys.ldw = r, keys.transposed = true;
  keys.y = rows, keys.ldy = ld, keys.y_pitch = gpu::kLatentWidth, keys.heads = heads_, keys.n = r, keys.k = nope;
  gpu::head_product(s, keys, n);

  const gpu::LatentPages pages{work.pages, gpu::kPage * gpu::kLatentWidth};
  gpu::write_latent(s, pages, latent, ld, work.kv_src, work.kv_dst, work.kv_rows);
  gpu::LatentAttentionArgs a;
  a.pages = pages, a.q = rows, a.ld = ld, a.heads = heads_, a.scale = scale_, a.out = b.context;
  if (work.decode_rows > 0)
    gpu::latent_decode(s, a, work.decode, work.decode_count, work.tables, work.partials, work.counters, work.grid.blocks);
  gpu::latent_prefill(s, a, work.prefill, work.prefill_items, work.tables);
  gpu::HeadProduct values;
  values.x = b.context, values.ldx = heads_ * r, values.x_pitch = r, values.w = kv_b_ + nope * r, values.w_pitch = (nope + v) * r, values.ldw = r;
  values.y = attn, values.ldy = heads_ * v, values.y_pitch = v, values.heads = heads_, values.n = v, values.k = r;
  gpu::head_product(s, values, n);
}

}  // namespace r1
