#include "model/model_shapes.h"

#include "core/error.h"
#include "core/suggest.h"

namespace r1 {
namespace {

struct Shape {
  const char *name, *type;
  std::int64_t d, layers, heads, kv, hd, f, v;
  bool tied;
  double theta;
};
constexpr Shape kShapes[] = {
    {"smollm2-135m", "llama", 576, 30, 9, 3, 64, 1536, 49152, true, 1e5},
    {"qwen2.5-0.5b", "qwen2", 896, 24, 14, 2, 64, 4864, 151936, true, 1e6},
    {"qwen3-0.6b", "qwen3", 1024, 28, 16, 8, 128, 3072, 151936, true, 1e6},
    {"qwen2.5-1.5b", "qwen2", 1536, 28, 12, 2, 128, 8960, 151936, true, 1e6},
    {"qwen2.5-7b", "qwen2", 3584, 28, 28, 4, 128, 18944, 152064, false, 1e6},
    {"llama-3.1-8b", "llama", 4096, 32, 32, 8, 128, 14336, 128256, false, 5e5},
};

// Those that a table has no columns for: the configuration files of the released models.
struct Described { const char *name, *config; };
constexpr Described kDescribed[] = {
    {"deepseek-v2-lite", R"({"model_type":"deepseek_v2","hidden_size":2048,"num_hidden_layers":27,"num_attention_heads":16,"num_key_value_heads":16,
      "intermediate_size":10944,"moe_intermediate_size":1408,"n_routed_experts":64,"n_shared_experts":2,"num_experts_per_tok":6,"first_k_dense_replace":1,
      "moe_layer_freq":1,"n_group":1,"topk_group":1,"topk_method":"greedy","routed_scaling_factor":1.0,"norm_topk_prob":false,"scoring_func":"softmax",
      "q_lora_rank":null,"kv_lora_rank":512,"qk_nope_head_dim":128,"qk_rope_head_dim":64,"v_head_dim":128,"attention_bias":false,
      "max_position_embeddings":163840,"rope_theta":10000,"vocab_size":102400,"eos_token_id":100001,
      "rope_scaling":{"type":"yarn","factor":40,"original_max_position_embeddings":4096,"beta_fast":32,"beta_slow":1,"mscale":0.707,"mscale_all_dim":0.707}})"},
    {"deepseek-v3-small", R"({"model_type":"deepseek_v3","hidden_size":1024,"num_hidden_layers":8,"num_attention_heads":8,"num_key_value_heads":8,
      "intermediate_size":2816,"moe_intermediate_size":384,"n_routed_experts":32,"n_shared_experts":1,"num_experts_per_tok":4,"first_k_dense_replace":1,
      "moe_layer_freq":1,"n_group":4,"topk_group":2,"topk_method":"noaux_tc","routed_scaling_factor":2.5,"norm_topk_prob":true,"scoring_func":"sigmoid",
      "num_nextn_predict_layers":1,"q_lora_rank":384,"kv_lora_rank":256,"qk_nope_head_dim":64,"qk_rope_head_dim":32,"v_head_dim":64,"attention_bias":false,
      "max_position_embeddings":4096,"rope_theta":10000,"vocab_size":32768,"eos_token_id":1,"tie_word_embeddings":false})"},
    {"qwen3-30b-a3b", R"({"model_type":"qwen3_moe","hidden_size":2048,"num_hidden_layers":48,"num_attention_heads":32,"num_key_value_heads":4,"head_dim":128,
      "intermediate_size":6144,"moe_intermediate_size":768,"num_experts":128,"num_experts_per_tok":8,"norm_topk_prob":true,"decoder_sparse_step":1,
      "mlp_only_layers":[],"attention_bias":false,"max_position_embeddings":40960,"rope_theta":1000000.0,"vocab_size":151936,"eos_token_id":151645,
      "tie_word_embeddings":false})"},
};

}  // namespace

const std::vector<std::string>& model_shape_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> out;
    for (const Shape& s : kShapes) out.emplace_back(s.name);
    for (const Described& d : kDescribed) out.emplace_back(d.name);
    return out;
  }();
  return names;
}

ModelConfig model_shape(const std::string& name) {
  for (const Shape& s : kShapes) {
    if (name != s.name) continue;
    ModelConfig c;
    c.model_type = s.type;
    c.hidden_size = s.d, c.num_hidden_layers = s.layers, c.num_attention_heads = s.heads, c.num_key_value_heads = s.kv, c.head_dim = s.hd;
    c.intermediate_size = s.f, c.vocab_size = s.v, c.max_position_embeddings = 32768, c.rope_theta = s.theta;
    c.tie_word_embeddings = s.tied;
    c.qkv_bias = c.model_type == "qwen2", c.qk_norm = c.model_type == "qwen3";
    c.eos_token_ids = {0};
    return c;
  }
  for (const Described& d : kDescribed)
    if (name == d.name) return ModelConfig::from_json(d.config, name);
  throw ConfigError(message("there is no model shape '", name, "'; known are ", join_names(model_shape_names())));
}

}  // namespace r1
