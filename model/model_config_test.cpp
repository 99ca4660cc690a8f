#include "model/model_config.h"

#include <doctest/doctest.h>

#include <fstream>

#include "core/error.h"
#include "model/safetensors.h"
#include "model/weight_store.h"
#include "tests/support/errors.h"
#include "tests/support/support.h"

using namespace r1;

namespace {

// A valid config with `extra` members in front.
std::string config_text(const std::string& extra = "", const std::string& type = "llama") {
  return "{" + extra + (extra.empty() ? "" : ",") + "\"model_type\":\"" + type +
         "\",\"hidden_size\":64,\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key_value_heads\":2,"
         "\"intermediate_size\":128,\"vocab_size\":256}";
}

ModelConfig parse(const std::string& extra = "", const std::string& type = "llama") {
  return ModelConfig::from_json(config_text(extra, type), "config.json");
}

// The message of the refusal; fails the test if there is none.
std::string refusal(const std::string& text) {
  try {
    ModelConfig::from_json(text, "some/config.json");
  } catch (const CheckpointError& e) {
    return e.what();
  }
  FAIL("not refused: " << text);
  return {};
}
std::string refusal_of(const std::string& extra, const std::string& type = "llama") { return refusal(config_text(extra, type)); }

using test::contains;

struct Shape {
  const char* name;
  const char* type;
  std::int64_t d, layers, heads, kv, head_dim, ff, vocab;
  bool tied;
  std::int64_t parameters;
};

}  // namespace

TEST_CASE("parameter counts of released models") {
  const Shape shapes[] = {
      {"Qwen2.5-0.5B", "qwen2", 896, 24, 14, 2, 64, 4864, 151936, true, 494'032'768},
      {"Qwen2.5-1.5B", "qwen2", 1536, 28, 12, 2, 128, 8960, 151936, true, 1'543'714'304},
      {"Qwen2.5-3B", "qwen2", 2048, 36, 16, 2, 128, 11008, 151936, true, 3'085'938'688},
      {"Qwen2.5-7B", "qwen2", 3584, 28, 28, 4, 128, 18944, 152064, false, 7'615'616'512},
      {"Qwen2.5-14B", "qwen2", 5120, 48, 40, 8, 128, 13824, 152064, false, 14'770'033'664},
      {"Qwen2.5-32B", "qwen2", 5120, 64, 40, 8, 128, 27648, 152064, false, 32'763'876'352},
      {"R1-Distill-Qwen-1.5B", "qwen2", 1536, 28, 12, 2, 128, 8960, 151936, false, 1'777'088'000},
      {"Qwen3-0.6B", "qwen3", 1024, 28, 16, 8, 128, 3072, 151936, true, 596'049'920},
      {"Qwen3-1.7B", "qwen3", 2048, 28, 16, 8, 128, 6144, 151936, true, 1'720'574'976},
      {"Qwen3-4B", "qwen3", 2560, 36, 32, 8, 128, 9728, 151936, true, 4'022'468'096},
      {"Qwen3-8B", "qwen3", 4096, 36, 32, 8, 128, 12288, 151936, false, 8'190'735'360},
      {"Llama-3.1-8B", "llama", 4096, 32, 32, 8, 128, 14336, 128256, false, 8'030'261'248},
      {"Llama-3.2-1B", "llama", 2048, 16, 32, 8, 64, 8192, 128256, true, 1'235'814'400},
      {"Llama-3.3-70B", "llama", 8192, 80, 64, 8, 128, 28672, 128256, false, 70'553'706'496},
      {"SmolLM2-135M", "llama", 576, 30, 9, 3, 64, 1536, 49152, true, 134'515'008},
      {"SmolLM2-360M", "llama", 960, 32, 15, 5, 64, 2560, 49152, true, 361'821'120},
      {"SmolLM2-1.7B", "llama", 2048, 24, 32, 32, 64, 8192, 49152, true, 1'711'376'384},
      {"DeepSeek-LLM-7B", "llama", 4096, 30, 32, 32, 128, 11008, 102400, false, 6'910'365'696},
      {"DeepSeek-LLM-67B", "llama", 8192, 95, 64, 8, 128, 22016, 102400, false, 67'425'001'472},
      {"DeepSeek-Coder-1.3B", "llama", 2048, 24, 16, 16, 128, 5504, 32256, false, 1'346'471'936},
      {"DeepSeek-Coder-6.7B", "llama", 4096, 32, 32, 32, 128, 11008, 32256, false, 6'740'512'768},
      {"DeepSeek-Coder-33B", "llama", 7168, 62, 56, 8, 128, 19200, 32256, false, 33'342'991'360},
  };
  for (const Shape& s : shapes) {
    CAPTURE(s.name);
    const std::string text = message(
        "{\"model_type\":\"", s.type, "\",\"hidden_size\":", s.d, ",\"num_hidden_layers\":", s.layers,
        ",\"num_attention_heads\":", s.heads, ",\"num_key_value_heads\":", s.kv, ",\"head_dim\":", s.head_dim,
        ",\"intermediate_size\":", s.ff, ",\"vocab_size\":", s.vocab, ",\"tie_word_embeddings\":", s.tied ? "true" : "false", "}");
    const ModelConfig config = ModelConfig::from_json(text, s.name);
    CHECK(config.num_parameters() == s.parameters);
    std::int64_t in_layout = 0;
    for (const Parameter& p : parameter_layout(config)) in_layout += p.elements;
    CHECK(in_layout == s.parameters);
  }
}

TEST_CASE("old and new spellings of keys") {
  const ModelConfig old_style = parse(
      R"("rope_theta":500000.0,"torch_dtype":"bfloat16","rope_scaling":{"type":"llama3","factor":8.0,"low_freq_factor":1.0,)"
      R"("high_freq_factor":4.0,"original_max_position_embeddings":8192})");
  const ModelConfig new_style = parse(
      R"("dtype":"bfloat16","rope_parameters":{"rope_theta":500000.0,"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,)"
      R"("high_freq_factor":4.0,"original_max_position_embeddings":8192})");
  for (const ModelConfig& c : {old_style, new_style}) {
    CHECK(c.rope_theta == 500000.0);
    CHECK(c.rope_scaling.kind == RopeScaling::Kind::kLlama3);
    CHECK(c.rope_scaling.factor == 8.0);
    CHECK(c.rope_scaling.original_max_position_embeddings == 8192);
  }
  CHECK(rope_inverse_frequencies(old_style) == rope_inverse_frequencies(new_style));
  CHECK(contains(old_style.to_json("float32"), "\"torch_dtype\": \"float32\""));
  CHECK(contains(new_style.to_json("float32"), "\"dtype\": \"float32\""));
  CHECK_FALSE(contains(new_style.to_json("float32"), "torch_dtype"));
  CHECK(parse(R"("rope_parameters":{"rope_type":"default","rope_theta":12345.0})").rope_theta == 12345.0);
  CHECK(parse(R"("rope_scaling":null)").rope_theta == 10000.0);
}

TEST_CASE("defaults follow transformers") {
  const ModelConfig llama = parse();
  CHECK(llama.head_dim == 16);
  CHECK(llama.rms_norm_eps == 1e-6f);
  CHECK_FALSE(llama.tie_word_embeddings);
  CHECK(llama.max_position_embeddings == 2048);
  CHECK_FALSE(llama.qkv_bias);
  const ModelConfig qwen2 = parse("", "qwen2");
  CHECK(qwen2.qkv_bias);
  CHECK_FALSE(qwen2.o_bias);
  const ModelConfig qwen3 = parse("", "qwen3");
  CHECK(qwen3.qk_norm);
  CHECK(qwen3.head_dim == 128);
  CHECK_FALSE(qwen3.qkv_bias);
  const ModelConfig biased = parse(R"("attention_bias":true,"mlp_bias":true)");
  CHECK(biased.qkv_bias);
  CHECK(biased.o_bias);
  CHECK(biased.mlp_bias);
}

TEST_CASE("what is not honoured is refused by name, value and remedy") {
  const std::string unknown = refusal(config_text("", "mamba2"));
  CHECK(contains(unknown, "some/config.json: model_type is \"mamba2\""));
  CHECK(contains(unknown, "llama, qwen2, qwen3"));
  const char* cases[] = {
      R"("hidden_act":"gelu")", R"("use_sliding_window":true)", R"("partial_rotary_factor":0.5)", R"("pretraining_tp":2)",
      R"("rope_interleaved":true)", R"("quantization_config":{"quant_method":"fp8"})", R"("attention_dropout":0.1)",
      R"("logits_scaling":8.0)", R"("layer_types":["full_attention","sliding_attention"])", R"("layer_types":["full_attention"])",
      R"("attention_multiplier":0.015)", R"("final_logit_softcapping":30.0)", R"("num_local_experts":8)",
      R"("embedding_scale":12)", R"("architectures":["LlamaForSequenceClassification"])", R"("rope_theta":"big")",
      R"("rms_norm_eps":0)", R"("head_dim":15)", R"("tie_word_embeddings":1)", R"("eos_token_id":"end")",
      R"("eos_token_id":[1,-2])", R"("rope_scaling":{"rope_type":"yarn","factor":4.0,"low_freq_factor":1.0})",
      R"("rope_scaling":{"rope_type":"longrope","factor":4.0})", R"("rope_scaling":{"type":"dynamic","factor":2.0})",
      R"("rope_scaling":{"rope_type":"linear"})", R"("rope_scaling":{"rope_type":"linear","factor":0})",
      R"("rope_scaling":{"type":"linear","rope_type":"llama3","factor":4.0})", R"("rope_scaling":"linear")",
      R"("rope_scaling":{"rope_type":"linear","factor":4.0,"attention_factor":0.5})",
      R"("rope_theta":1e4,"rope_parameters":{"rope_type":"default","rope_theta":1e6})",
      R"("rope_scaling":{"rope_type":"llama3","factor":8.0,"low_freq_factor":4.0,"high_freq_factor":4.0,"original_max_position_embeddings":32})",
      R"("rope_parameters":{"full_attention":{"rope_type":"default"}})",
  };
  for (const std::string extra : cases) {
    CAPTURE(extra);
    const std::string text = refusal_of(extra);
    const std::string key = extra.substr(1, extra.find('"', 1) - 1);
    CHECK((contains(text, key) || contains(text, "rope")));
    CHECK(contains(text, "some/config.json: "));
  }
  CHECK(contains(refusal_of(R"("hidden_act":"gelu")"), "hidden_act is \"gelu\"; only silu is supported"));
  CHECK(contains(refusal_of(R"("mlp_bias":true)", "qwen3"), "mlp_bias is true"));
  CHECK(contains(refusal("{\"model_type\":\"llama\"}"), "hidden_size is absent"));
  CHECK(contains(refusal("{\"model_type\":"), "not valid JSON"));
  CHECK(contains(refusal("[]"), "a JSON object is needed"));
  CHECK(contains(refusal("{\"model_type\":\"llama\",\"hidden_size\":\"64\"}"), "hidden_size is \"64\"; a whole number"));
  CHECK(contains(refusal("{\"model_type\":\"llama\",\"hidden_size\":-64}"), "hidden_size is -64; a whole number"));
  CHECK(contains(refusal("{\"model_type\":\"llama\",\"hidden_size\":1e30}"), "hidden_size is 1e+30; a whole number"));
  std::string odd = config_text();
  odd.replace(odd.find("\"num_key_value_heads\":2"), 23, "\"num_key_value_heads\":3");
  CHECK(contains(refusal(odd), "num_key_value_heads 3"));
}

TEST_CASE("keys without influence are accepted") {
  const char* cases[] = {
      R"("hidden_act":"silu","use_sliding_window":false,"sliding_window":4096,"max_window_layers":28,"use_mrope":false)",
      R"("pretraining_tp":1,"rope_interleaved":false,"attention_dropout":0.0,"use_cache":true,"initializer_range":0.02)",
      R"("layer_types":["full_attention","full_attention"],"is_llama_config":true,"transformers.js_config":{"kv":1})",
      R"("architectures":["LlamaForCausalLM"],"unsloth_version":"2025.1","_attn_implementation_autoset":true)",
      R"("quantization_config":null,"num_experts":0,"final_logit_softcapping":null,"rope_scaling":{"rope_type":"default"})",
  };
  for (const char* extra : cases) CHECK_NOTHROW(parse(extra));
}

TEST_CASE("token ids: generation_config.json wins") {
  const test::TempDir dir;
  std::ofstream(dir / "config.json") << config_text(R"("bos_token_id":1,"eos_token_id":2)");
  CHECK(ModelConfig::load(dir.path()).eos_token_ids == std::vector<TokenId>{2});
  std::ofstream(dir / "generation_config.json") << R"({"eos_token_id":[7,9],"pad_token_id":3})";
  const ModelConfig config = ModelConfig::load(dir.path());
  CHECK(config.eos_token_ids == std::vector<TokenId>{7, 9});
  CHECK(config.bos_token_id == 1);
  CHECK(config.pad_token_id == 3);
  CHECK_THROWS_AS(ModelConfig::load(dir / "nowhere"), CheckpointError);
}

TEST_CASE("a config made in code comes back from its own text") {
  for (const char* type : {"llama", "qwen2", "qwen3"}) {
    ModelConfig made = parse(R"("rope_scaling":{"type":"llama3","factor":32.0,"low_freq_factor":1.0,"high_freq_factor":4.0,)"
                             R"("original_max_position_embeddings":8192},"rms_norm_eps":1e-5,"tie_word_embeddings":true,)"
                             R"("eos_token_id":[4,5],"bos_token_id":1,"head_dim":32)", type);
    made.json.clear();
    const std::string text = made.to_json("bfloat16");
    CHECK(contains(text, "\"rms_norm_eps\": 1e-05"));
    const ModelConfig back = ModelConfig::from_json(text, "made");
    CHECK(back.to_json("float32") == ModelConfig::from_json(made.to_json("float32"), "x").to_json("float32"));
    CHECK(back.num_parameters() == made.num_parameters());
    CHECK(back.rms_norm_eps == made.rms_norm_eps);
    CHECK(back.eos_token_ids == made.eos_token_ids);
    CHECK(back.head_dim == 32);
    CHECK(rope_inverse_frequencies(back) == rope_inverse_frequencies(made));
  }
}

TEST_CASE("rotary frequencies equal transformers'") {
  const SafetensorsFile golden(std::filesystem::path(R1_SOURCE_DIR) / "tests/golden/model/rope.safetensors");
  REQUIRE(golden.tensors().size() >= 6);
  for (const TensorView& tensor : golden.tensors()) {
    CAPTURE(tensor.name);
    const ModelConfig config = ModelConfig::from_json(golden.metadata().at(tensor.name), tensor.name);
    const std::vector<float> ours = rope_inverse_frequencies(config);
    const auto* theirs = reinterpret_cast<const float*>(tensor.data);
    REQUIRE(static_cast<std::int64_t>(ours.size()) == tensor.elements());
    for (std::size_t i = 0; i < ours.size(); ++i) CHECK(ours[i] == doctest::Approx(theirs[i]).epsilon(2.5e-7));
  }
}
