// For tests: small models of the families that the GPU runs beyond Llama's block.
#pragma once

#include <string>
#include <vector>

#include "core/error.h"
#include "model/model_config.h"

namespace r1 {

inline const std::vector<std::string>& gpu_test_families() {
  // "sigmoid": DeepSeek-V3's router over ordinary attention; "yarn": scaled positions without experts; "phi3": fused projections
  // and a window as long as the context.
  static const std::vector<std::string> names = {"mixtral", "qwen2_moe", "qwen3_moe", "deepseek", "sigmoid", "deepseek_v2", "deepseek_v3", "yarn", "phi3", "olmo2"};
  return names;
}

inline ModelConfig gpu_family_config(const std::string& family) {
  ModelConfig c;
  c.model_type = family == "sigmoid" ? "deepseek" : family == "yarn" ? "llama" : family;
  c.hidden_size = 128, c.num_hidden_layers = 3, c.num_attention_heads = 4, c.num_key_value_heads = 2, c.head_dim = 64;
  c.intermediate_size = 192, c.vocab_size = 503, c.max_position_embeddings = 2048;
  c.rms_norm_eps = 1e-5f;
  MixtureOfExperts m;
  m.num_experts = 16, m.experts_per_token = 4, m.intermediate_size = 64;
  m.layers = {true, true, true};
  if (family == "mixtral") {
    m.names = MixtureOfExperts::Names::kMixtral;
    m.num_experts = 8, m.experts_per_token = 2, m.normalise = true, m.intermediate_size = 192;
  } else if (family == "qwen2_moe") {
    c.qkv_bias = true;
    m.num_experts = 12, m.shared_intermediate_size = 128, m.shared_gate = true, m.layers = {true, false, true};
  } else if (family == "qwen3_moe") {
    c.qk_norm = true;
    m.num_experts = 32, m.experts_per_token = 8, m.normalise = true;
  } else if (family == "deepseek") {
    m.shared_intermediate_size = 128, m.layers = {false, true, true};
  } else if (family == "deepseek_v2") {
    m.shared_intermediate_size = 128, m.layers = {false, true, true};
    c.mla = LatentAttention{.q_lora_rank = 0, .kv_lora_rank = 512, .qk_nope_head_dim = 64, .qk_rope_head_dim = 64, .v_head_dim = 64};
  } else if (family == "yarn" || family == "phi3" || family == "olmo2") {
    m.layers.clear();
    if (family == "olmo2") c.pre_norms = false, c.post_norms = c.qk_norm = c.qk_norm_all_heads = true;
    if (family == "phi3") c.fused_projections = true, c.sliding_window = 600, c.query_scale = 0.2;
  } else if (family == "sigmoid" || family == "deepseek_v3") {
    if (family == "deepseek_v3") {
      c.num_attention_heads = 20;
      c.mla = LatentAttention{.q_lora_rank = 96, .kv_lora_rank = 512, .qk_nope_head_dim = 128, .qk_rope_head_dim = 64, .v_head_dim = 64};
    }
    m.scoring = MixtureOfExperts::Scoring::kSigmoid;
    m.shared_intermediate_size = 64, m.layers = {false, true, true};
    m.num_groups = 4, m.top_groups = 2, m.normalise = true, m.normalise_epsilon = 1e-20, m.scale = 2.5, m.correction_bias = true;
  } else {
    throw ConfigError(message("no test model of family ", family));
  }
  if (family == "yarn" || family == "deepseek_v3") {
    c.rope_scaling.kind = RopeScaling::Kind::kYarn;
    c.rope_scaling.factor = 4, c.rope_scaling.original_max_position_embeddings = 256;
    if (c.mla) c.rope_scaling.mscale = 1, c.rope_scaling.mscale_all_dim = 1;
  }
  if (c.mla) c.head_dim = c.mla->qk_nope_head_dim + c.mla->qk_rope_head_dim, c.num_key_value_heads = c.num_attention_heads;
  if (!m.layers.empty()) c.moe = m;
  c.eos_token_ids = {500};
  return c;
}

}  // namespace r1
