#include "model/tensor_split.h"

#include <doctest/doctest.h>

#include <cstring>

#include "core/error.h"
#include "model/weight_store.h"

namespace r1 {
namespace {

ModelConfig config_of(const std::string& type) {
  return ModelConfig::from_json(
      R"({"architectures": [")" + std::string(type == "phi3" ? "Phi3" : "Llama") + R"(ForCausalLM"], "model_type": ")" + type + R"(", "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 6,
          "num_key_value_heads": 3, "head_dim": 4, "intermediate_size": 12, "vocab_size": 17, "hidden_act": "silu", "rms_norm_eps": 1e-6, "pad_token_id": 0,
          "rope_theta": 10000.0, "max_position_embeddings": 64, "tie_word_embeddings": false, "eos_token_id": 1})",
      "config.json");
}

std::int64_t number_of(const WeightStore& store) {
  std::int64_t n = 0;
  for (const Parameter& p : store.parameters()) n += p.elements;
  return n;
}

}  // namespace

TEST_CASE("parts of a model: whole tensors load into them, together they are the whole, only norms are there more than once") {
  for (const char* type : {"llama", "phi3"}) {  // apart, and fused q, k, v and gate, up
    CAPTURE(type);
    const ModelConfig config = config_of(type);
    WeightStore whole(config, DType::kF32);
    init_random(whole, 3, 0.5f);
    std::int64_t cut = 0;
    for (int rank = 0; rank < 3; ++rank) {
      WeightStore part(config, DType::kF32, {rank, 3});
      part.load(whole.snapshot(0));
      WeightStore random(config, DType::kF32, {rank, 3});
      init_random(random, 3, 0.5f);
      CHECK(random.digest() == part.digest());
      for (const Parameter& p : part.parameters()) {
        const Parameter& of = whole.find(p.name);
        const TensorCut& c = part.cut(p);
        CHECK(c.whole == of.shape);
        CHECK(c.all == p.name.ends_with("norm.weight"));
        // put() and take() are each other's inverse, and put() writes what the whole has there.
        std::vector<float> back(static_cast<std::size_t>(of.elements), 99.f);
        c.put(part.at(p), reinterpret_cast<std::byte*>(back.data()), 4);
        const auto* want = reinterpret_cast<const float*>(whole.at(of));
        std::int64_t written = 0;
        bool equal = true;
        for (std::int64_t i = 0; i < of.elements; ++i) {
          const float value = back[static_cast<std::size_t>(i)];
          if (value == 99.f) continue;
          equal = equal && value == want[i];
          ++written;
        }
        CHECK(equal);
        CHECK(written == p.elements);
        if (!c.all) cut += p.elements;
      }
    }
    std::int64_t norms = 0;
    for (const Parameter& p : whole.parameters())
      if (p.name.ends_with("norm.weight")) norms += p.elements;
    CHECK(cut + norms == number_of(whole));
  }
}

TEST_CASE("fused projections are cut inside each of their parts") {
  const ModelConfig config = config_of("phi3");
  const TensorCut qkv = cut_of(config, "model.layers.0.self_attn.qkv_proj.weight", {48, 24}, {1, 3});
  CHECK(qkv.rows == std::vector<std::pair<std::int64_t, std::int64_t>>{{8, 16}, {28, 32}, {40, 44}});
  const TensorCut gate_up = cut_of(config, "model.layers.0.mlp.gate_up_proj.weight", {24, 24}, {2, 3});
  CHECK(gate_up.rows == std::vector<std::pair<std::int64_t, std::int64_t>>{{8, 12}, {20, 24}});
}

TEST_CASE("what is not split is refused by name") {
  const ModelConfig config = config_of("llama");
  CHECK_THROWS_WITH_AS(split_config(config, {0, 4}), doctest::Contains("train.tensor_parallel is 4, but this model's 6 attention heads"), ConfigError);
  CHECK_THROWS_WITH_AS(split_config(config, {0, 6}), doctest::Contains("3 key-value heads are not divisible"), ConfigError);
  CHECK_THROWS_WITH_AS(check_sequence_split(config, 2), doctest::Contains("train.sequence_parallel is 2, but this model's 3 key-value heads"), ConfigError);
  ModelConfig other = config;
  other.intermediate_size = 13;
  CHECK_THROWS_WITH_AS(split_config(other, {0, 3}), doctest::Contains("13 columns of the MLP"), ConfigError);
  other = config;
  other.moe.emplace();
  CHECK_THROWS_WITH_AS(split_config(other, {0, 3}), doctest::Contains("a model with experts is not split"), ConfigError);
  other = config;
  other.qk_norm = other.qk_norm_all_heads = true;
  CHECK_THROWS_WITH_AS(split_config(other, {0, 3}), doctest::Contains("norms over all heads together"), ConfigError);
  CHECK(vocabulary_rows(config, {2, 3}) == std::pair<std::int64_t, std::int64_t>{12, 17});
}

}  // namespace r1
