#include "model/cut_layers.h"

#include <doctest/doctest.h>

#include <cstring>

#include "core/error.h"
#include "model/hf_directory.h"
#include "model/weight_store.h"
#include "tests/support/support.h"

namespace r1 {

TEST_CASE("kept layers are spread evenly, with both ends") {
  CHECK(kept_layers(4, 2) == std::vector<std::int64_t>{0, 3});
  CHECK(kept_layers(5, 3) == std::vector<std::int64_t>{0, 2, 4});
  CHECK(kept_layers(3, 1) == std::vector<std::int64_t>{0});
  const auto half = kept_layers(30, 15);
  CHECK(half == std::vector<std::int64_t>{0, 2, 4, 6, 8, 10, 12, 15, 17, 19, 21, 23, 25, 27, 29});
  CHECK_THROWS_WITH_AS(kept_layers(4, 4), "a model of 4 layers can be cut to 1 to 3 layers, not to 4", ConfigError);
  CHECK_THROWS_AS(kept_layers(4, 0), ConfigError);
}

TEST_CASE("a cut model on disk has the kept layers' weights under new numbers") {
  ModelConfig config = ModelConfig::from_json(
      R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8, "num_hidden_layers": 4, "num_attention_heads": 2,
          "num_key_value_heads": 1, "head_dim": 4, "intermediate_size": 12, "vocab_size": 16, "hidden_act": "silu", "rms_norm_eps": 1e-6,
          "rope_theta": 10000.0, "max_position_embeddings": 64, "tie_word_embeddings": true, "eos_token_id": 1})",
      "config.json");
  WeightStore store(config, DType::kF32);
  init_random(store, 1, 0.1f);
  const auto kept = kept_layers(4, 2);
  const test::TempDir dir;
  const ModelConfig small = with_layers(config, 2);
  SaveModelOptions save;
  save.dtype = DType::kF32;
  save_model_directory(dir / "cut", small, cut_layers(store.snapshot(0).tensors, kept), save);
  const LoadedModel cut = load_model(dir / "cut", DType::kF32);
  CHECK(cut.config.num_hidden_layers == 2);
  const auto same = [&](const char* mine, const char* whole) {
    const Parameter &a = cut.weights.find(mine), &b = store.find(whole);
    return a.shape == b.shape && std::memcmp(cut.weights.at(a), store.at(b), static_cast<std::size_t>(a.elements) * 4) == 0;
  };
  CHECK(same("model.layers.1.mlp.up_proj.weight", "model.layers.3.mlp.up_proj.weight"));
  CHECK(same("model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.q_proj.weight"));
  CHECK(same("model.embed_tokens.weight", "model.embed_tokens.weight"));
  CHECK_FALSE(same("model.layers.1.mlp.up_proj.weight", "model.layers.1.mlp.up_proj.weight"));
}

}  // namespace r1
