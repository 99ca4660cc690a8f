#include "model/config_families.h"

#include <cmath>
#include <limits>

#include "core/error.h"

namespace r1 {
namespace detail {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kMostPositions = std::numeric_limits<std::int32_t>::max();

// ---- dense families ------------------------------------------------------------------------------------------------

void read_llama(const Json&, const ConfigJson& reader, ModelConfig& out) {
  out.qkv_bias = out.o_bias = reader.flag("attention_bias", false);
  out.mlp_bias = reader.flag("mlp_bias", false);
}

// Qwen2 has its biases whatever the file says, as in transformers.
void read_qwen2(const Json&, const ConfigJson& reader, ModelConfig& out) {
  out.qkv_bias = true;
  if (reader.flag("mlp_bias", false)) reader.refuse("mlp_bias", "supported for llama only");
}

void read_qwen3(const Json&, const ConfigJson& reader, ModelConfig& out) {
  out.qk_norm = true;
  out.qkv_bias = out.o_bias = reader.flag("attention_bias", false);
  if (reader.flag("mlp_bias", false)) reader.refuse("mlp_bias", "supported for llama only");
}

void refuse_biases(const ConfigJson& reader) {
  for (const char* key : {"attention_bias", "mlp_bias"})
    if (reader.flag(key, false)) reader.refuse(key, "biases are not supported for this family");
}

void read_window(const Json& config, const ConfigJson& reader, std::optional<std::int64_t> missing, ModelConfig& out) {
  if (config.contains("sliding_window") && config.at("sliding_window").is_null()) return;
  if (!missing && !reader.has("sliding_window")) return;
  out.sliding_window = reader.positive("sliding_window", missing, kMostPositions);
}

void read_mistral(const Json& config, const ConfigJson& reader, ModelConfig& out) {
  refuse_biases(reader);
  read_window(config, reader, 4096, out);
}

void read_phi3(const Json& config, const ConfigJson& reader, ModelConfig& out) {
  refuse_biases(reader);
  read_window(config, reader, std::nullopt, out);
  out.fused_projections = true;
}

void read_olmo2(const Json&, const ConfigJson& reader, ModelConfig& out) {
  refuse_biases(reader);
  out.pre_norms = false;
  out.post_norms = true;
  out.qk_norm = out.qk_norm_all_heads = true;
}

// Layers with a window: all but each pattern-th.
void window_pattern(std::int64_t pattern, ModelConfig& out) {
  out.sliding_layers.resize(static_cast<std::size_t>(out.num_hidden_layers));
  for (std::int64_t l = 0; l < out.num_hidden_layers; ++l) out.sliding_layers[static_cast<std::size_t>(l)] = (l + 1) % pattern != 0;
}

void read_gemma(const Json& config, const ConfigJson& reader, ModelConfig& out) {
  refuse_biases(reader);
  for (const char* key : {"hidden_activation", "hidden_act"})
    if (reader.has(key) && reader.text(key, "") != "gelu_pytorch_tanh") reader.refuse(key, "only gelu_pytorch_tanh is supported for this family");
  out.pre_norms = out.post_norms = out.unit_offset_norms = out.gelu = true;
  out.embedding_scale = std::sqrt(static_cast<double>(out.hidden_size));
  out.query_scale = 1 / std::sqrt(reader.positive_number("query_pre_attn_scalar", 256));
  read_window(config, reader, 4096, out);
}

// A cap that is absent has transformers' default, null switches it off.
double read_cap(const Json& config, const ConfigJson& reader, const char* key, double missing) {
  if (config.contains(key) && config.at(key).is_null()) return 0;
  if (!config.contains(key)) return missing;
  return reader.positive_number(key);
}

void read_gemma2(const Json& config, const ConfigJson& reader, ModelConfig& out) {
  read_gemma(config, reader, out);
  out.attention_softcap = read_cap(config, reader, "attn_logit_softcapping", 50);
  out.logit_softcap = read_cap(config, reader, "final_logit_softcapping", 30);
  window_pattern(2, out);
}

void read_gemma3(const Json& config, const ConfigJson& reader, ModelConfig& out) {
  read_gemma(config, reader, out);
  out.attention_softcap = read_cap(config, reader, "attn_logit_softcapping", 0);
  out.logit_softcap = read_cap(config, reader, "final_logit_softcapping", 0);
  out.qk_norm = true;
  if (out.rope_local_theta == 0) out.rope_local_theta = reader.positive_number("rope_local_base_freq", 10000);
  window_pattern(reader.positive("sliding_window_pattern", 6, 4096), out);
}

// ---- mixtures of experts ---------------------------------------------------------------------------------------------

// `count` is the family's key for the number of routed experts.
MixtureOfExperts& read_experts(const ConfigJson& reader, const char* count, const char* width, ModelConfig& out) {
  MixtureOfExperts& moe = out.moe.emplace();
  moe.num_experts = reader.positive(count, std::nullopt, 65535);
  moe.experts_per_token = reader.positive("num_experts_per_tok", std::nullopt, 256);
  moe.intermediate_size = reader.positive(width);
  if (moe.experts_per_token > moe.num_experts)
    reader.refuse("num_experts_per_tok", message("it must be at most ", count, " ", moe.num_experts));
  moe.layers.assign(static_cast<std::size_t>(out.num_hidden_layers), true);
  return moe;
}

void read_mixtral(const Json& config, const ConfigJson& reader, ModelConfig& out) {
  refuse_biases(reader);
  read_window(config, reader, std::nullopt, out);
  MixtureOfExperts& moe = read_experts(reader, "num_local_experts", "intermediate_size", out);
  moe.names = MixtureOfExperts::Names::kMixtral;
  moe.normalise = true;
  moe.aux_loss_coef = reader.number("router_aux_loss_coef", 0.001);
}

void read_qwen_experts(const Json& config, const ConfigJson& reader, ModelConfig& out) {
  MixtureOfExperts& moe = read_experts(reader, reader.has("num_experts") ? "num_experts" : "num_local_experts", "moe_intermediate_size", out);
  moe.normalise = reader.flag("norm_topk_prob", false);
  moe.aux_loss_coef = reader.number("router_aux_loss_coef", 0.001);
  const std::int64_t step = reader.positive("decoder_sparse_step", 1, 4096);
  for (std::int64_t l = 0; l < out.num_hidden_layers; ++l) moe.layers[static_cast<std::size_t>(l)] = (l + 1) % step == 0;
  if (!reader.has("mlp_only_layers")) return;
  const Json& dense = config.at("mlp_only_layers");
  if (!dense.is_array()) reader.refuse("mlp_only_layers", "a list of layer numbers is needed");
  for (const Json& l : dense) {
    if (!l.is_number_integer() || l < 0 || l >= out.num_hidden_layers) reader.refuse("mlp_only_layers", "a list of layer numbers is needed");
    moe.layers[l.get<std::size_t>()] = false;
  }
}

void read_qwen2_moe(const Json& config, const ConfigJson& reader, ModelConfig& out) {
  out.qkv_bias = reader.flag("qkv_bias", true);
  if (reader.flag("mlp_bias", false)) reader.refuse("mlp_bias", "supported for llama only");
  read_qwen_experts(config, reader, out);
  out.moe->shared_intermediate_size = reader.positive("shared_expert_intermediate_size");
  out.moe->shared_gate = true;
}

void read_qwen3_moe(const Json& config, const ConfigJson& reader, ModelConfig& out) {
  read_qwen3(config, reader, out);
  read_qwen_experts(config, reader, out);
}

// ---- DeepSeek ----------------------------------------------------------------------------------------------------------

// `value` is the only one that is supported.
void require_text(const ConfigJson& reader, const char* key, const std::string& value) {
  if (reader.text(key, value) != value) reader.refuse(key, message("only \"", value, "\" is supported for this family"));
}

MixtureOfExperts& read_deepseek_experts(const ConfigJson& reader, ModelConfig& out) {
  refuse_biases(reader);
  MixtureOfExperts& moe = read_experts(reader, "n_routed_experts", "moe_intermediate_size", out);
  moe.shared_intermediate_size = reader.whole("n_shared_experts", 0, 0, 1024) * moe.intermediate_size;
  const std::int64_t dense = reader.whole("first_k_dense_replace", 0, 0, out.num_hidden_layers), step = reader.positive("moe_layer_freq", 1, 4096);
  for (std::int64_t l = 0; l < out.num_hidden_layers; ++l) moe.layers[static_cast<std::size_t>(l)] = l >= dense && l % step == 0;
  moe.aux_loss_coef = reader.number("aux_loss_alpha", 0);
  return moe;
}

void read_groups(const ConfigJson& reader, std::int64_t best_of_group, MixtureOfExperts& moe) {
  moe.num_groups = reader.positive("n_group", 1, 4096);
  moe.top_groups = reader.positive("topk_group", moe.num_groups, 4096);
  const std::int64_t in_group = moe.num_experts / moe.num_groups;
  if (moe.num_experts % moe.num_groups != 0 || in_group < best_of_group)
    reader.refuse("n_group", message("it must divide n_routed_experts ", moe.num_experts, " into groups of at least ", best_of_group));
  if (moe.top_groups > moe.num_groups || moe.top_groups * in_group < moe.experts_per_token)
    reader.refuse("topk_group", message("that many of ", moe.num_groups, " groups must hold num_experts_per_tok ", moe.experts_per_token, " experts"));
}

void read_latent(const ConfigJson& reader, ModelConfig& out) {
  LatentAttention& mla = out.mla.emplace();
  if (reader.has("q_lora_rank")) mla.q_lora_rank = reader.positive("q_lora_rank");
  mla.kv_lora_rank = reader.positive("kv_lora_rank", std::nullopt, 4096);
  mla.qk_nope_head_dim = reader.positive("qk_nope_head_dim", std::nullopt, 4096);
  mla.qk_rope_head_dim = reader.positive("qk_rope_head_dim", std::nullopt, 4096);
  mla.v_head_dim = reader.positive("v_head_dim", std::nullopt, 4096);
  mla.interleaved = reader.flag("rope_interleave", true);
  if (mla.qk_rope_head_dim % 2 != 0) reader.refuse("qk_rope_head_dim", "it must be even (rotary pairs)");
  if (mla.cached_width() > 1024) reader.refuse("kv_lora_rank", "kv_lora_rank + qk_rope_head_dim may be at most 1024");
  if (out.num_key_value_heads != out.num_attention_heads)
    reader.refuse("num_key_value_heads", message("latent attention has as many as num_attention_heads ", out.num_attention_heads));
  out.num_key_value_heads = out.num_attention_heads;
  out.head_dim = mla.qk_nope_head_dim + mla.qk_rope_head_dim;
}

void read_deepseek(const Json&, const ConfigJson& reader, ModelConfig& out) {
  require_text(reader, "scoring_func", "softmax");
  MixtureOfExperts& moe = read_deepseek_experts(reader, out);
  moe.normalise = reader.flag("norm_topk_prob", false);
  moe.normalise_epsilon = 1e-20;
}

void read_deepseek_v2(const Json&, const ConfigJson& reader, ModelConfig& out) {
  require_text(reader, "scoring_func", "softmax");
  read_latent(reader, out);
  MixtureOfExperts& moe = read_deepseek_experts(reader, out);
  const std::string method = reader.text("topk_method", "greedy");
  if (method == "group_limited_greedy") read_groups(reader, 1, moe);
  else if (method != "greedy") reader.refuse("topk_method", "supported: greedy, group_limited_greedy");
  if (reader.flag("norm_topk_prob", false))
    reader.refuse("norm_topk_prob", "true is not supported for deepseek_v2: published implementations disagree on it");
  moe.scale = reader.positive_number("routed_scaling_factor", 1);
}

void read_deepseek_v3(const Json&, const ConfigJson& reader, ModelConfig& out) {
  require_text(reader, "scoring_func", "sigmoid");
  require_text(reader, "topk_method", "noaux_tc");
  read_latent(reader, out);
  MixtureOfExperts& moe = read_deepseek_experts(reader, out);
  read_groups(reader, 2, moe);
  moe.scoring = MixtureOfExperts::Scoring::kSigmoid;
  moe.correction_bias = true;
  moe.normalise = reader.flag("norm_topk_prob", true);
  moe.normalise_epsilon = 1e-20;
  moe.scale = reader.positive_number("routed_scaling_factor", 2.5);
  out.num_mtp_layers = reader.whole("num_nextn_predict_layers", 0, 0, 16);
}

const std::set<std::string> kDeepseekMoe = {"n_routed_experts", "n_shared_experts", "num_experts_per_tok", "moe_intermediate_size", "moe_layer_freq",
                                            "first_k_dense_replace", "norm_topk_prob", "scoring_func", "aux_loss_alpha", "seq_aux", "ep_size"};

std::set<std::string> with(std::set<std::string> base, const std::set<std::string>& more) {
  base.insert(more.begin(), more.end());
  return base;
}

}  // namespace

const std::vector<Family>& families() {
  static const std::vector<Family> kFamilies = [] {
    const std::set<std::string> qwen_moe = {"num_experts", "num_local_experts", "num_experts_per_tok", "moe_intermediate_size", "norm_topk_prob",
                                            "decoder_sparse_step", "mlp_only_layers", "router_aux_loss_coef", "shared_expert_intermediate_size", "qkv_bias"};
    const std::set<std::string> latent = with(kDeepseekMoe, {"q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim",
                                                             "qk_head_dim", "rope_interleave", "topk_method", "n_group", "topk_group",
                                                             "routed_scaling_factor", "quantization_config"});
    const std::set<std::string> gemma = {"hidden_activation", "hidden_act", "query_pre_attn_scalar", "attn_logit_softcapping",
                                         "final_logit_softcapping", "sliding_window"};
    std::vector<Family> list;
    list.push_back({"llama", "LlamaForCausalLM", 2048, 1e-6, 1e4, false, {}, read_llama});
    list.push_back({"qwen2", "Qwen2ForCausalLM", 32768, 1e-6, 1e4, false, {}, read_qwen2});
    list.push_back({"qwen3", "Qwen3ForCausalLM", 32768, 1e-6, 1e4, false, {}, read_qwen3});
    list.push_back({"mistral", "MistralForCausalLM", 131072, 1e-6, 1e4, false, {}, read_mistral});
    list.push_back({"phi3", "Phi3ForCausalLM", 4096, 1e-5, 1e4, false, {"partial_rotary_factor", "original_max_position_embeddings"}, read_phi3});
    list.push_back({"olmo2", "Olmo2ForCausalLM", 2048, 1e-5, 1e4, false, {}, read_olmo2});
    list.push_back({"gemma2", "Gemma2ForCausalLM", 8192, 1e-6, 1e4, true, gemma, read_gemma2});
    list.push_back({"gemma3_text", "Gemma3ForCausalLM", 131072, 1e-6, 1e6, true,
                    with(gemma, {"rope_local_base_freq", "sliding_window_pattern", "_sliding_window_pattern"}), read_gemma3});
    list.push_back({"mixtral", "MixtralForCausalLM", 131072, 1e-5, 1e6, false,
                    {"num_local_experts", "num_experts_per_tok", "router_aux_loss_coef"}, read_mixtral});
    list.push_back({"qwen2_moe", "Qwen2MoeForCausalLM", 32768, 1e-6, 1e4, false, qwen_moe, read_qwen2_moe});
    list.push_back({"qwen3_moe", "Qwen3MoeForCausalLM", 32768, 1e-6, 1e4, false, qwen_moe, read_qwen3_moe});
    list.push_back({"deepseek", "DeepseekForCausalLM", 2048, 1e-6, 1e4, false, kDeepseekMoe, read_deepseek});
    list.push_back({"deepseek_v2", "DeepseekV2ForCausalLM", 2048, 1e-6, 1e4, false, latent, read_deepseek_v2});
    list.push_back({"deepseek_v3", "DeepseekV3ForCausalLM", 4096, 1e-6, 1e4, false, with(latent, {"num_nextn_predict_layers"}), read_deepseek_v3});
    return list;
  }();
  return kFamilies;
}

void read_sizes(const Family& family, const ConfigJson& reader, ModelConfig& out) {
  const std::string type = family.model_type;
  const bool has_latent = type == "deepseek_v2" || type == "deepseek_v3";
  out.hidden_size = reader.positive("hidden_size");
  out.num_hidden_layers = reader.positive("num_hidden_layers", std::nullopt, 4096);
  out.num_attention_heads = reader.positive("num_attention_heads", std::nullopt, 4096);
  // Where transformers' own default is a fixed number, which fits few models, the file has to say.
  const bool defaults_to_heads = type == "llama" || type == "phi3" || type == "olmo2" || type == "deepseek" || has_latent;
  out.num_key_value_heads =
      defaults_to_heads ? reader.positive("num_key_value_heads", out.num_attention_heads) : reader.positive("num_key_value_heads");
  out.intermediate_size = reader.positive("intermediate_size");
  out.vocab_size = reader.positive("vocab_size");
  out.max_position_embeddings = reader.positive("max_position_embeddings", family.max_position_embeddings, kMostPositions);
  if (out.num_attention_heads % out.num_key_value_heads != 0)
    reader.refuse("num_attention_heads", message("it must be a multiple of num_key_value_heads ", out.num_key_value_heads));
  if (has_latent) return;  // read_latent() knows the widths
  if (type == "qwen3" || type.starts_with("gemma")) {
    out.head_dim = reader.positive("head_dim", type == "qwen3" ? 128 : 256, 4096);
  } else {
    if (!reader.has("head_dim") && out.hidden_size % out.num_attention_heads != 0)
      reader.refuse("hidden_size", message("it must be a multiple of num_attention_heads ", out.num_attention_heads,
                                           " unless head_dim is given"));
    out.head_dim = reader.positive("head_dim", out.hidden_size / out.num_attention_heads, 4096);
  }
  if (out.head_dim % 2 != 0) reader.refuse("head_dim", message("head width ", out.head_dim, " must be even (rotary pairs)"));
}

void read_layer_types(const Json& config, const ConfigJson& reader, ModelConfig& out) {
  if (!reader.has("layer_types")) return;
  const Json& types = config.at("layer_types");
  if (!types.is_array() || types.size() != static_cast<std::size_t>(out.num_hidden_layers))
    reader.refuse("layer_types", message("a list of ", out.num_hidden_layers, " entries is needed (num_hidden_layers)"));
  std::vector<bool> sliding;
  for (const Json& type : types) {
    if (type != "full_attention" && (type != "sliding_attention" || out.sliding_window == 0))
      reader.refuse("layer_types", out.sliding_window > 0 ? "only full_attention and sliding_attention are supported" : "only full_attention is supported");
    sliding.push_back(type == "sliding_attention");
  }
  if (out.sliding_window > 0) out.sliding_layers = sliding;
}

void read_quantisation(const Json& config, const ConfigJson& reader, ModelConfig& out) {
  if (!reader.has("quantization_config")) return;
  const Json& object = config.at("quantization_config");
  if (!object.is_object()) reader.refuse("quantization_config", "an object is needed");
  const ConfigJson fp8(object, reader.name(), "quantization_config.");
  require_text(fp8, "quant_method", "fp8");
  require_text(fp8, "fmt", "e4m3");
  require_text(fp8, "activation_scheme", "dynamic");
  if (!fp8.has("quant_method")) fp8.refuse("quant_method", "only \"fp8\" is supported");
  if (fp8.text("scale_fmt", "").size() > 0) fp8.refuse("scale_fmt", "only scales in float32 are supported");
  const Json& block = fp8.has("weight_block_size") ? object.at("weight_block_size") : Json();
  if (!block.is_array() || block.size() != 2 || !block[0].is_number_integer() || !block[1].is_number_integer() || block[0] < 1 || block[1] < 1)
    fp8.refuse("weight_block_size", "two positive numbers are needed, as in [128, 128]");
  out.fp8 = BlockScales{block[0].get<std::int64_t>(), block[1].get<std::int64_t>()};
}

}  // namespace detail

const std::vector<std::string>& model_families() {
  static const std::vector<std::string> kNames = [] {
    std::vector<std::string> names;
    for (const detail::Family& f : detail::families()) names.emplace_back(f.model_type);
    return names;
  }();
  return kNames;
}

}  // namespace r1
