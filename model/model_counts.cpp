// Numbers that follow from a configuration alone.
#include <cmath>

#include "core/error.h"
#include "model/model_config.h"
#include "model/weight_store.h"

namespace r1 {

std::int64_t ModelConfig::num_parameters() const {
  std::int64_t sum = 0;
  ModelConfig main = *this;
  main.num_mtp_layers = 0;
  for (const Parameter& p : parameter_layout(main)) sum += p.elements;
  for (const Parameter& p : buffer_layout(main)) sum += p.elements;
  return sum;
}

std::int64_t ModelConfig::num_active_parameters() const {
  std::int64_t idle = 0;
  for (std::int64_t l = 0; l < num_hidden_layers; ++l)
    if (has_experts(l)) idle += (moe->num_experts - moe->experts_per_token) * 3 * hidden_size * moe->intermediate_size;
  return num_parameters() - idle;
}

std::int64_t ModelConfig::kv_values_per_token() const {
  return num_hidden_layers * (mla ? mla->cached_width() : 2 * num_key_value_heads * head_dim);
}

double ModelConfig::score_scale() const {
  double scale = query_scale > 0 ? query_scale : 1 / std::sqrt(static_cast<double>(head_dim));
  if (mla && rope_scaling.kind == RopeScaling::Kind::kYarn && rope_scaling.mscale_all_dim != 0 && rope_scaling.factor > 1) {
    const double m = 0.1 * rope_scaling.mscale_all_dim * std::log(rope_scaling.factor) + 1;
    scale *= m * m;
  }
  return scale;
}

std::string ModelConfig::beyond_llama() const {
  if (mla) return "latent attention";
  if (moe) return "a mixture of experts";
  if (sliding_window > 0) return "sliding-window attention";
  if (attention_softcap > 0 || logit_softcap > 0) return "soft-capped scores";
  if (!pre_norms || post_norms || unit_offset_norms) return "norms behind attention and MLP";
  if (gelu) return "GELU";
  if (fused_projections) return "fused projections";
  if (qk_norm_all_heads) return "a norm over all heads";
  if (rotary_dim > 0) return "partial rotation";
  if (rope_scaling.kind == RopeScaling::Kind::kYarn) return "YaRN";
  if (rope_scaling.kind == RopeScaling::Kind::kLong) return "LongRoPE";
  if (embedding_scale != 1 || query_scale != 0) return "scaled embeddings or queries";
  return "";
}

std::string ModelConfig::beyond_gpu() const {
  ModelConfig rest = *this;
  rest.moe.reset(), rest.mla.reset();
  if (rest.rope_scaling.kind == RopeScaling::Kind::kYarn) rest.rope_scaling = {};
  if (!rest.pre_norms && !rest.unit_offset_norms) rest.pre_norms = true, rest.post_norms = rest.qk_norm_all_heads = false;
  rest.fused_projections = false, rest.query_scale = 0, rest.sliding_window = 0;
  if (mla && (mla->kv_lora_rank != 512 || mla->qk_rope_head_dim != 64)) return message("latents of ", mla->kv_lora_rank, " + ", mla->qk_rope_head_dim, " numbers");
  return rest.beyond_llama();
}

}  // namespace r1
