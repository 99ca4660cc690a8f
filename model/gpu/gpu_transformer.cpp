#include "model/gpu/gpu_transformer.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "kernels/cpu.h"
#include "kernels/gpu/norms.h"

namespace r1 {
namespace {

ModelConfig checked(ModelConfig c) {
  if (const std::string beyond = c.beyond_gpu(); !beyond.empty())
    throw ConfigError(message("the GPU path does not know ", beyond, ", which this ", c.model_type, " model has; use device: cpu"));
  if (!gpu::available()) throw DeviceError(gpu::unavailable_reason());
  if (!c.mla && !gpu::attention_supports(c.head_dim))
    throw ConfigError(message("the GPU path knows head_dim 64, 96, 128 and 256, this model has ", c.head_dim, "; use device: cpu"));
  if (c.o_bias || c.mlp_bias) throw ConfigError("the GPU path does not know biases on o_proj or the MLP; use device: cpu");
  if (c.hidden_size % 8 != 0 || c.intermediate_size % 8 != 0)
    throw ConfigError(message("the GPU path needs widths that are multiples of 8, not ", c.hidden_size, " and ", c.intermediate_size));
  return c;
}

}  // namespace

GpuTransformer::GpuTransformer(ModelConfig config)
    : config_(checked(std::move(config))), shape_(config_), weights_(config_, stream_), vocab_limit_(config_.vocab_size),
      inv_freq_(rope_inverse_frequencies(config_)) {
  const auto place = [&](const std::string& name, std::int64_t& at) {
    at = weights_.find(name).offset;
    return weights_.data() + at;
  };
  embed_ = place("model.embed_tokens.weight", at_embed_);
  final_norm_ = place("model.norm.weight", at_final_norm_);
  if (config_.tie_word_embeddings) head_ = embed_, at_head_ = at_embed_;
  else head_ = place("lm_head.weight", at_head_);
  std::int64_t experts = 0;
  for (std::int64_t i = 0; i < shape_.layers; ++i) {
    const std::string p = message("model.layers.", i, ".");
    Layer l{};
    l.at_qkv_bias = l.at_q_norm = l.at_k_norm = l.at_gate_up = l.at_down = l.at_qkv = -1;
    if (shape_.pre_norms) {
      l.input_norm = place(p + "input_layernorm.weight", l.at_input_norm);
      l.post_norm = place(p + "post_attention_layernorm.weight", l.at_post_norm);
    } else {
      std::int64_t at = 0;
      l.attn_out_norm = place(p + "post_attention_layernorm.weight", at);
      l.mlp_out_norm = place(p + "post_feedforward_layernorm.weight", at);
    }
    if (shape_.latent) l.latent.emplace(weights_, config_, i);
    else l.qkv = place(p + (config_.fused_projections ? "self_attn.qkv_proj.weight" : "self_attn.q_proj.weight"), l.at_qkv);
    if (config_.qkv_bias) l.qkv_bias = place(p + "self_attn.q_proj.bias", l.at_qkv_bias);
    if (config_.qk_norm) {
      l.q_norm = place(p + "self_attn.q_norm.weight", l.at_q_norm);
      l.k_norm = place(p + "self_attn.k_norm.weight", l.at_k_norm);
    }
    l.o = place(p + "self_attn.o_proj.weight", l.at_o);
    if (config_.has_experts(i)) {
      l.experts.emplace(weights_, config_, i, experts++);
    } else {
      l.gate_up = place(p + (config_.fused_projections ? "mlp.gate_up_proj.weight" : "mlp.gate_proj.weight"), l.at_gate_up);
      l.down = place(p + "mlp.down_proj.weight", l.at_down);
    }
    layers_.push_back(l);
  }
  const auto rope_bytes = static_cast<std::size_t>(shape_.context * shape_.rope_half) * sizeof(float);
  rope_cos_ = gpu::DeviceMemory(rope_bytes);
  rope_sin_ = gpu::DeviceMemory(rope_bytes);
}

void GpuTransformer::set_vocab_limit(std::int64_t limit) {
  R1_CHECK(limit >= 0 && limit <= shape_.v, "vocabulary limit ", limit, " of ", shape_.v);
  vocab_limit_ = limit == 0 ? shape_.v : limit;
}

void GpuTransformer::ensure_rope(std::int64_t count) {
  if (count <= rope_positions_) return;
  if (count > shape_.context)
    throw ConfigError(message("position ", count - 1, " of a context of ", shape_.context,
                              config_.sliding_window > 0 ? ", the model's window: beyond it the GPU path does not go; use device: cpu or shorter samples" : ""));
  const std::int64_t end = std::min(shape_.context, std::max<std::int64_t>({count, 2 * rope_positions_, 4096}));
  const std::int64_t half = shape_.rope_half;
  const auto factor = static_cast<float>(rope_attention_factor(config_));
  std::vector<float> cos, sin;
  for (std::int64_t p = rope_positions_; p < end; ++p)
    for (std::int64_t i = 0; i < half; ++i) {
      const float angle = static_cast<float>(p) * inv_freq_[static_cast<std::size_t>(i)];  // float32, as HF does
      // HF casts both to the model's type before they meet q and k.
      cos.push_back(cpu::to_float(cpu::to_bf16(std::cos(angle) * factor)));
      sin.push_back(cpu::to_float(cpu::to_bf16(std::sin(angle) * factor)));
    }
  gpu::copy_to_device(stream_, rope_cos_.as<float>() + rope_positions_ * half, cos.data(), cos.size() * sizeof(float));
  gpu::copy_to_device(stream_, rope_sin_.as<float>() + rope_positions_ * half, sin.data(), sin.size() * sizeof(float));
  synchronize();
  rope_positions_ = end;
}

gpu::QkArgs GpuTransformer::qk_args(const Layer& l, const std::int32_t* positions) const {
  gpu::QkArgs a;
  a.heads = shape_.heads, a.kv_heads = shape_.kv_heads, a.head_dim = shape_.hd, a.ld = shape_.qkv_width;
  a.positions = positions, a.cos = rope_cos(), a.sin = rope_sin();
  if (shape_.qk_norm) a.q_norm = l.q_norm, a.k_norm = l.k_norm;
  a.eps = shape_.eps;
  return a;
}

void GpuTransformer::attention(std::int64_t index, std::int64_t n, const float* h_in, const std::int32_t* positions, const GpuAttentionWork& work,
                               const GpuLayerBuffers& b) {
  const Layer& l = layer(index);
  if (l.input_norm != nullptr) gpu::rms_norm(stream_, h_in, nullptr, n, shape_.d, l.input_norm, shape_.eps, b.x, b.rstd_in);
  else gpu::to_bf16(stream_, h_in, b.x, n * shape_.d);
  if (l.latent) {
    R1_CHECK(b.lse == nullptr, "latent attention on the GPU keeps nothing for a backward pass");
    l.latent->forward(stream_, blas_, n, b.x, positions, rope_cos(), rope_sin(), work, b.latent, b.qkv, b.attn);
    return;
  }
  blas_.forward(stream_, {b.x, shape_.d}, {l.qkv, shape_.d}, n, shape_.qkv_width, shape_.d, b.qkv, shape_.qkv_width, gpu::Out::kBf16, l.qkv_bias);
  if (config_.qk_norm_all_heads) {
    gpu::bf16* k = b.qkv + shape_.q_width;
    gpu::rms_norm_part(stream_, b.qkv, shape_.qkv_width, n, shape_.q_width, l.q_norm, shape_.eps, b.qkv, shape_.qkv_width);
    gpu::rms_norm_part(stream_, k, shape_.qkv_width, n, shape_.kv_width, l.k_norm, shape_.eps, k, shape_.qkv_width);
  }
  const gpu::KvPages pages{work.pages, shape_.page_elements(), shape_.kv_heads, shape_.hd};
  gpu::AttentionArgs a;
  a.pages = pages, a.q = b.qkv, a.ld = shape_.qkv_width, a.heads = shape_.heads, a.scale = shape_.scale;
  a.out = b.attn, a.out_ld = shape_.q_width, a.lse = b.lse;
  // Where every row decodes, attention rotates the rows and stores their keys itself: two launches a layer less.
  if (work.prefill_items == 0 && !shape_.qk_norm) {
    a.cos = rope_cos(), a.sin = rope_sin();
  } else {
    gpu::qk_norm_rope(stream_, qk_args(l, positions), b.qkv, n, b.qk_raw, b.rstd_qk);
    gpu::write_kv(stream_, pages, b.qkv + shape_.q_width, b.qkv + shape_.q_width + shape_.kv_width, shape_.qkv_width, work.kv_src, work.kv_dst, work.kv_rows);
  }
  if (work.decode_rows > 0)
    gpu::attention_decode(stream_, a, work.decode, work.decode_count, work.tables, work.partials, work.counters, work.grid);
  gpu::attention_prefill(stream_, a, work.prefill, work.prefill_items, work.tables);
}

void GpuTransformer::after_attention(std::int64_t index, std::int64_t n, const float* h_in, float* h_mid, float* h_out,
                                     const GpuLayerBuffers& b) {
  const Layer& l = layer(index);
  // What a product adds: to the stream at once, or through the norm behind it.
  const auto add = [&](const gpu::bf16* x, std::int64_t width, const gpu::bf16* w, const gpu::bf16* norm, const float* from, float* to) {
    if (norm == nullptr) return blas_.forward(stream_, {x, width}, {w, width}, n, shape_.d, width, to, shape_.d, gpu::Out::kF32, nullptr, from);
    blas_.forward(stream_, {x, width}, {w, width}, n, shape_.d, width, b.added, shape_.d, gpu::Out::kF32);
    gpu::add_rms_norm(stream_, from, b.added, n, shape_.d, norm, shape_.eps, to);
  };
  add(b.attn, shape_.attn_width, l.o, l.attn_out_norm, h_in, h_mid);
  if (l.post_norm != nullptr) gpu::rms_norm(stream_, h_mid, nullptr, n, shape_.d, l.post_norm, shape_.eps, b.x, b.rstd_mid);
  else gpu::to_bf16(stream_, h_mid, b.x, n * shape_.d);
  if (l.experts) {
    l.experts->forward(stream_, blas_, n, b.x, h_mid, h_out, b.replay, b.record, b.experts);
    return;
  }
  if (b.keeps_gate_up) {
    blas_.forward(stream_, {b.x, shape_.d}, {l.gate_up, shape_.d}, n, 2 * shape_.f, shape_.d, b.gate_up, 2 * shape_.f, gpu::Out::kBf16);
    gpu::swiglu(stream_, b.gate_up, n, shape_.f, b.act);
  } else {
    blas_.forward_swiglu(stream_, {b.x, shape_.d}, {l.gate_up, shape_.d}, n, shape_.f, shape_.d, b.gate_up, b.act);
  }
  add(b.act, shape_.f, l.down, l.mlp_out_norm, h_mid, h_out);
}

void GpuTransformer::logits(const gpu::bf16* x, std::int64_t n, float* out) {
  blas_.forward(stream_, {x, shape_.d}, {head_, shape_.d}, n, shape_.v, shape_.d, out, shape_.ld_v, gpu::Out::kF32);
}

}  // namespace r1
