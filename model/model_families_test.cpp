// DeepSeek's mixtures and the other families from their configurations alone: parameters total and active, cache, scales, and what is
// refused by name.
#include <doctest/doctest.h>

#include <cmath>

#include "core/error.h"
#include "model/model_config.h"
#include "model/model_summary.h"
#include "model/weight_store.h"

using namespace r1;

namespace {

// Released configurations, as far as they matter.
const char* const kYarn = R"("rope_scaling":{"type":"yarn","factor":40,"original_max_position_embeddings":4096,"beta_fast":32,"beta_slow":1,)";
const std::string kMoe16b = R"({"model_type":"deepseek","hidden_size":2048,"num_hidden_layers":28,"num_attention_heads":16,"num_key_value_heads":16,
  "intermediate_size":10944,"moe_intermediate_size":1408,"n_routed_experts":64,"n_shared_experts":2,"num_experts_per_tok":6,"first_k_dense_replace":1,
  "moe_layer_freq":1,"scoring_func":"softmax","norm_topk_prob":false,"aux_loss_alpha":0.001,"seq_aux":true,"vocab_size":102400})";
const std::string kV2Lite = std::string(R"({"model_type":"deepseek_v2","hidden_size":2048,"num_hidden_layers":27,"num_attention_heads":16,"num_key_value_heads":16,
  "intermediate_size":10944,"moe_intermediate_size":1408,"n_routed_experts":64,"n_shared_experts":2,"num_experts_per_tok":6,"first_k_dense_replace":1,
  "moe_layer_freq":1,"n_group":1,"topk_group":1,"topk_method":"greedy","routed_scaling_factor":1.0,"norm_topk_prob":false,"scoring_func":"softmax",
  "q_lora_rank":null,"kv_lora_rank":512,"qk_nope_head_dim":128,"qk_rope_head_dim":64,"v_head_dim":128,"aux_loss_alpha":0.001,"seq_aux":true,"ep_size":1,
  "attention_bias":false,"max_position_embeddings":163840,"rope_theta":10000,"vocab_size":102400,)") + kYarn + R"("mscale":0.707,"mscale_all_dim":0.707}})";
const std::string kV2 = std::string(R"({"model_type":"deepseek_v2","hidden_size":5120,"num_hidden_layers":60,"num_attention_heads":128,"num_key_value_heads":128,
  "intermediate_size":12288,"moe_intermediate_size":1536,"n_routed_experts":160,"n_shared_experts":2,"num_experts_per_tok":6,"first_k_dense_replace":1,
  "n_group":8,"topk_group":3,"topk_method":"group_limited_greedy","routed_scaling_factor":16.0,"norm_topk_prob":false,"scoring_func":"softmax",
  "q_lora_rank":1536,"kv_lora_rank":512,"qk_nope_head_dim":128,"qk_rope_head_dim":64,"v_head_dim":128,"vocab_size":102400,)") + kYarn +
                        R"("mscale":1.0,"mscale_all_dim":1.0}})";
const std::string kV3 = std::string(R"({"model_type":"deepseek_v3","architectures":["DeepseekV3ForCausalLM"],"hidden_size":7168,"num_hidden_layers":61,
  "num_attention_heads":128,"num_key_value_heads":128,"intermediate_size":18432,"moe_intermediate_size":2048,"n_routed_experts":256,"n_shared_experts":1,
  "num_experts_per_tok":8,"first_k_dense_replace":3,"moe_layer_freq":1,"n_group":8,"topk_group":4,"topk_method":"noaux_tc","scoring_func":"sigmoid",
  "routed_scaling_factor":2.5,"norm_topk_prob":true,"num_nextn_predict_layers":1,"q_lora_rank":1536,"kv_lora_rank":512,"qk_nope_head_dim":128,
  "qk_rope_head_dim":64,"v_head_dim":128,"vocab_size":129280,"ep_size":1,"max_position_embeddings":163840,
  "quantization_config":{"activation_scheme":"dynamic","fmt":"e4m3","quant_method":"fp8","weight_block_size":[128,128]},)") + kYarn +
                        R"("mscale":1.0,"mscale_all_dim":1.0}})";

ModelConfig parse(const std::string& text) { return ModelConfig::from_json(text, "config.json"); }

std::string changed(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

std::string refusal(const std::string& text) {
  try {
    parse(text);
  } catch (const CheckpointError& e) {
    return e.what();
  }
  FAIL("not refused: " << text);
  return {};
}

}  // namespace

TEST_CASE("DeepSeek's mixtures: published totals, active parameters and cache from the configuration alone") {
  struct Case { const std::string& text; std::int64_t total; double active; std::int64_t cache; };
  const Case cases[] = {{kMoe16b, 16'375'728'128, 2.8e9, 28 * 2 * 2048},
                        {kV2Lite, 15'706'484'224, 2.66e9, 27 * 576},
                        {kV2, 235'741'434'880, 21.4e9, 60 * 576},
                        {kV3, 671'026'419'200, 37.6e9, 61 * 576}};
  for (const Case& c : cases) {
    const ModelConfig config = parse(c.text);
    CAPTURE(config.model_type);
    CHECK(config.num_parameters() == c.total);
    CHECK(static_cast<double>(config.num_active_parameters()) == doctest::Approx(c.active).epsilon(0.02));
    CHECK(config.kv_values_per_token() == c.cache);
    CHECK_FALSE(config.beyond_llama().empty());
  }
  // With its prediction layer: 11.5e9 parameters of its own.
  const ModelConfig v3 = parse(kV3);
  std::int64_t with_prediction = 0;
  for (const Parameter& p : parameter_layout(v3)) with_prediction += p.elements;
  CHECK(static_cast<double>(with_prediction - v3.num_parameters()) == doctest::Approx(11.5e9).epsilon(0.01));
}

TEST_CASE("YaRN's constants: the ramp, the scale of the scores, no factor on cos and sin where the mscales agree") {
  const ModelConfig v3 = parse(kV3), lite = parse(kV2Lite);
  CHECK(v3.score_scale() == doctest::Approx(0.1352338));
  CHECK(lite.score_scale() == doctest::Approx(0.1147214));
  CHECK(rope_attention_factor(v3) == 1);
  const std::vector<float> f = rope_inverse_frequencies(v3);
  REQUIRE(f.size() == 32);
  const auto plain = [](int i) { return std::pow(10000.0, -2.0 * i / 64); };
  CHECK(f[10] == doctest::Approx(plain(10)));
  CHECK(f[23] == doctest::Approx(plain(23) / 40));
  CHECK(f[16] == doctest::Approx(plain(16) * (1 - 6.0 / 13) + plain(16) / 40 * (6.0 / 13)));
  const ModelConfig qwen = parse(R"({"model_type":"qwen2","hidden_size":64,"num_hidden_layers":1,"num_attention_heads":1,"num_key_value_heads":1,
    "intermediate_size":8,"vocab_size":8,"rope_scaling":{"type":"yarn","factor":4.0,"original_max_position_embeddings":32768}})");
  CHECK(rope_attention_factor(qwen) == doctest::Approx(1 + 0.1 * std::log(4.0)));
  CHECK(qwen.score_scale() == doctest::Approx(0.125));  // the scores' own scale is DeepSeek's alone
}

TEST_CASE("what a DeepSeek configuration asks for and is not honoured is refused by name") {
  const std::pair<const char*, const char*> cases[] = {
      {R"("scoring_func":"sigmoid")", R"("scoring_func":"softmax")"},
      {R"("topk_method":"noaux_tc")", R"("topk_method":"greedy")"},
      {R"("n_group":8)", R"("n_group":7)"},
      {R"("topk_group":4)", R"("topk_group":9)"},
      {R"("num_experts_per_tok":8)", R"("num_experts_per_tok":300)"},
      {R"("kv_lora_rank":512)", R"("kv_lora_rank":1024)"},
      {R"("qk_rope_head_dim":64)", R"("qk_rope_head_dim":63)"},
      {R"("num_key_value_heads":128)", R"("num_key_value_heads":8)"},
      {R"("fmt":"e4m3")", R"("fmt":"e5m2")"},
      {R"("weight_block_size":[128,128])", R"("weight_block_size":[128])"},
      {R"("quant_method":"fp8")", R"("quant_method":"awq")"},
      {R"("mscale":1.0)", R"("mystery_scale":1.0)"},
      {R"("ep_size":1)", R"("index_topk_experts":2048)"},
      {R"("v_head_dim":128)", R"("v_head_dim":0)"},
      {R"("n_routed_experts":256)", R"("n_routed_experts":null)"},
  };
  for (const auto& [from, to] : cases) {
    CAPTURE(to);
    const std::string text = refusal(changed(kV3, from, to));
    const std::string key = std::string(to).substr(1, std::string(to).find('"', 1) - 1);
    CHECK(text.find(key) != std::string::npos);
    CHECK(text.starts_with("config.json: "));
  }
  CHECK(refusal(changed(kV2, R"("norm_topk_prob":false)", R"("norm_topk_prob":true)")).find("norm_topk_prob is true") != std::string::npos);
  CHECK(refusal(changed(kV2Lite, R"("topk_method":"greedy")", R"("topk_method":"noaux_tc")")).find("topk_method") != std::string::npos);
  CHECK(refusal(changed(kV2Lite, R"("attention_bias":false)", R"("attention_bias":true)")).find("attention_bias is true") != std::string::npos);
  // A dense family does not take an expert's key.
  CHECK(refusal(R"({"model_type":"llama","hidden_size":64,"num_hidden_layers":1,"num_attention_heads":1,"intermediate_size":8,"vocab_size":8,)"
                R"("n_routed_experts":8})").find("n_routed_experts is 8") != std::string::npos);
}

TEST_CASE("quirks of the dense families") {
  const std::string size = R"("hidden_size":64,"num_hidden_layers":6,"num_attention_heads":4,"num_key_value_heads":2,"intermediate_size":8,"vocab_size":8})";
  const ModelConfig mistral = parse(R"({"model_type":"mistral",)" + size);
  CHECK(mistral.sliding_window == 4096);  // transformers' default
  CHECK(mistral.beyond_gpu().empty());    // as far as the window goes
  CHECK(parse(R"({"model_type":"mistral","sliding_window":null,)" + size).beyond_llama().empty());
  const ModelConfig gemma2 = parse(R"({"model_type":"gemma2",)" + size);
  CHECK(gemma2.attention_softcap == 50);
  CHECK(gemma2.logit_softcap == 30);
  CHECK(gemma2.tie_word_embeddings);
  CHECK(gemma2.head_dim == 256);
  CHECK(gemma2.embedding_scale == 8);
  CHECK(gemma2.has_window(0));
  CHECK_FALSE(gemma2.has_window(1));
  CHECK(parse(R"({"model_type":"gemma2","attn_logit_softcapping":null,)" + size).attention_softcap == 0);
  CHECK(refusal(R"({"model_type":"gemma2","hidden_activation":"silu",)" + size).find("hidden_activation") != std::string::npos);
  const ModelConfig gemma3 = parse(R"({"model_type":"gemma3_text","rope_local_base_freq":5000,)" + size);
  CHECK(gemma3.rope_theta == 1e6);
  CHECK(gemma3.rope_local_theta == 5000);
  CHECK(gemma3.has_window(4));
  CHECK_FALSE(gemma3.has_window(5));
  const ModelConfig olmo2 = parse(R"({"model_type":"olmo2",)" + size);
  CHECK_FALSE(olmo2.pre_norms);
  CHECK(olmo2.rms_norm_eps == 1e-5f);
  const std::string longrope = R"({"model_type":"phi3","max_position_embeddings":64,"original_max_position_embeddings":16,"rope_scaling":{"type":"longrope","short_factor":)";
  const std::string eight = "[1,1.5,2,2.5,3,3.5,4,5]";
  ModelConfig phi3 = parse(longrope + eight + R"(,"long_factor":[2,3,4,5,6,7,8,9]},)" + size);
  CHECK(phi3.rope_scaling.factor == 4);
  CHECK(rope_attention_factor(phi3) == doctest::Approx(std::sqrt(1 + std::log(4.0) / std::log(16.0))));
  CHECK(rope_inverse_frequencies(phi3)[1] == doctest::Approx(std::pow(10000.0, -2.0 / 16) / 1.5));
  phi3.rope_scaling.long_context = true;
  CHECK(rope_inverse_frequencies(phi3)[1] == doctest::Approx(std::pow(10000.0, -2.0 / 16) / 3));
  CHECK(phi3.beyond_gpu() == "LongRoPE");
  CHECK(refusal(longrope + "[1,2]" + R"(,"long_factor":)" + eight + "}," + size).find("it has 2 numbers for 8 rotated pairs") != std::string::npos);
  CHECK(refusal(longrope + eight + "}," + size).find("long_factor") != std::string::npos);
  CHECK(refusal(R"({"model_type":"mixtral","num_local_experts":4,"num_experts_per_tok":2,"router_jitter_noise":0.1,)" + size).find("router_jitter_noise is 0.1") !=
        std::string::npos);
  CHECK(refusal(R"({"model_type":"qwen3_moe","num_experts":4,"num_experts_per_tok":2,"moe_intermediate_size":8,"mlp_only_layers":[9],)" + size)
            .find("mlp_only_layers") != std::string::npos);
}

TEST_CASE("the summary says what a person asks of a model") {
  const auto value = [](const ModelConfig& c, const std::string& name) -> std::string {
    for (const auto& [key, text] : model_summary(c))
      if (key == name) return text;
    return "";
  };
  const ModelConfig v3 = parse(kV3);
  CHECK(value(v3, "family") == "deepseek_v3");
  CHECK(value(v3, "parameters") == "671,026,419,200");
  CHECK(value(v3, "cache a token") == "70,272 bytes (35,136 numbers of bfloat16)");
  CHECK(value(v3, "experts").find("256 experts of width 2048 in 58 of 61 layers, 8 a token") == 0);
  CHECK(value(v3, "prediction layers").find("1 ") == 0);
  CHECK(value(v3, "stored as").find("FP8") == 0);
  CHECK(value(v3, "devices") == "cpu; cuda to sample and evaluate");
  CHECK(v3.beyond_gpu().empty());
  ModelConfig narrow = v3;
  narrow.mla->kv_lora_rank = 256;
  CHECK(value(narrow, "devices") == "cpu; not cuda: latents of 256 + 64 numbers");
  CHECK(value(parse(kV2Lite), "memory to sample").find("29.26 GiB of weights") == 0);
}
