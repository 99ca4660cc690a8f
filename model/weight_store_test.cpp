#include "model/weight_store.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "core/digest.h"
#include "core/error.h"
#include "model/element_convert.h"

using namespace r1;

namespace {

ModelConfig tiny(const char* type = "qwen2", bool tied = false) {
  return ModelConfig::from_json(std::string("{\"model_type\":\"") + type +
                                    "\",\"hidden_size\":32,\"num_hidden_layers\":2,\"num_attention_heads\":3,"
                                    "\"num_key_value_heads\":1,\"head_dim\":16,\"intermediate_size\":48,\"vocab_size\":33,"
                                    "\"tie_word_embeddings\":" + (tied ? "true}" : "false}"),
                                "tiny");
}

std::vector<float> values(const WeightStore& store, const std::string& name) {
  const Parameter& p = store.find(name);
  std::vector<float> out(static_cast<std::size_t>(p.elements));
  convert_elements(store.dtype(), store.at(p), DType::kF32, out.data(), out.size());
  return out;
}

}  // namespace

TEST_CASE("layout: products that go together lie together, groups are aligned, nothing overlaps") {
  for (const char* type : {"llama", "qwen2", "qwen3"}) {
    const WeightStore store(tiny(type), DType::kBF16);
    const auto next = [&](const char* a, const char* b) {
      const Parameter& first = store.find(std::string("model.layers.1.") + a);
      CHECK(first.offset + first.elements == store.find(std::string("model.layers.1.") + b).offset);
      return first.offset;
    };
    CHECK(next("self_attn.q_proj.weight", "self_attn.k_proj.weight") % 32 == 0);
    next("self_attn.k_proj.weight", "self_attn.v_proj.weight");
    CHECK(next("mlp.gate_proj.weight", "mlp.up_proj.weight") % 32 == 0);
    if (std::string(type) == "qwen2") {
      CHECK(next("self_attn.q_proj.bias", "self_attn.k_proj.bias") % 32 == 0);
      next("self_attn.k_proj.bias", "self_attn.v_proj.bias");
    }
    std::int64_t end = 0;
    for (const Parameter& p : store.parameters()) {
      CHECK(p.offset >= end);
      end = p.offset + p.elements;
    }
    CHECK(store.elements() >= end);
    CHECK(reinterpret_cast<std::uintptr_t>(store.data()) % 64 == 0);
  }
}

TEST_CASE("names of each family") {
  const WeightStore qwen3(tiny("qwen3", true), DType::kF32);
  CHECK_NOTHROW(qwen3.find("model.layers.0.self_attn.q_norm.weight"));
  CHECK(qwen3.find("model.layers.0.self_attn.q_norm.weight").shape == std::vector<std::int64_t>{16});
  CHECK_THROWS_AS(qwen3.find("lm_head.weight"), CheckpointError);
  CHECK_THROWS_AS(qwen3.find("model.layers.0.self_attn.q_proj.bias"), CheckpointError);
  const WeightStore qwen2(tiny("qwen2"), DType::kF32);
  CHECK(qwen2.find("lm_head.weight").shape == std::vector<std::int64_t>{33, 32});
  CHECK(qwen2.find("model.layers.1.mlp.down_proj.weight").shape == std::vector<std::int64_t>{32, 48});
}

TEST_CASE("set converts and checks") {
  WeightStore store(tiny(), DType::kBF16);
  std::vector<float> norm(32);
  for (std::size_t i = 0; i < norm.size(); ++i) norm[i] = 0.1f * static_cast<float>(i);
  TensorView view{"model.norm.weight", DType::kF32, {32}, reinterpret_cast<const std::byte*>(norm.data()), -1};
  store.set(view);
  const std::vector<float> back = values(store, "model.norm.weight");
  for (std::size_t i = 0; i < norm.size(); ++i) CHECK(back[i] == bf16_to_float(float_to_bf16(norm[i])));
  view.shape = {16};
  CHECK_THROWS_WITH_AS(store.set(view), "tensor model.norm.weight has shape [16], the model wants [32]", CheckpointError);
  view.shape = {32};
  view.dtype = DType::kI32;
  CHECK_THROWS_AS(store.set(view), CheckpointError);
  view.dtype = DType::kF32;
  view.name = "model.norm.bias";
  CHECK_THROWS_AS(store.set(view), CheckpointError);
  view.name = "model.norm.weight";
  view.device = 0;
  CHECK_THROWS_AS(store.set(view), CheckpointError);
}

TEST_CASE("load: all parameters or none; a snapshot carries everything") {
  WeightStore a(tiny(), DType::kF32), b(tiny(), DType::kF32);
  init_random(a, 3, 0.1f);
  CHECK(a.digest() != b.digest());
  b.load(a.snapshot(5));
  CHECK(a.digest() == b.digest());
  CHECK(a.snapshot(5).version == 5);
  b.load(b.snapshot(6));  // its own arena
  CHECK(a.digest() == b.digest());

  WeightStore c(tiny(), DType::kF32);
  const WeightDigest empty = c.digest();
  WeightSnapshot missing = a.snapshot(0);
  missing.tensors.erase(missing.tensors.begin() + 3);
  CHECK_THROWS_WITH_AS(c.load(missing), "tensor model.layers.0.self_attn.k_proj.weight is missing", CheckpointError);
  WeightSnapshot extra = a.snapshot(0);
  extra.tensors.back().name = "other";
  CHECK_THROWS_AS(c.load(extra), CheckpointError);
  WeightSnapshot twice = a.snapshot(0);
  twice.tensors.push_back(twice.tensors.front());
  CHECK_THROWS_AS(c.load(twice), CheckpointError);
  CHECK(c.digest() == empty);
}

TEST_CASE("digest sees one bit and the type") {
  WeightStore a(tiny(), DType::kBF16);
  init_random(a, 3, 0.1f);
  const WeightDigest before = a.digest();
  *(a.at(a.find("model.layers.1.mlp.up_proj.weight")) + 77) ^= std::byte{1};
  CHECK(a.digest() != before);
}

TEST_CASE("init_random: normal, seeded, norms 1, biases 0, the same on every machine") {
  WeightStore a(tiny(), DType::kF32), b(tiny(), DType::kF32);
  init_random(a, 11, 0.02f);
  init_random(b, 11, 0.02f);
  CHECK(a.digest() == b.digest());
  init_random(b, 12, 0.02f);
  CHECK(a.digest() != b.digest());
  for (const float x : values(a, "model.norm.weight")) CHECK(x == 1.f);
  for (const float x : values(a, "model.layers.0.self_attn.k_proj.bias")) CHECK(x == 0.f);
  const std::vector<float> w = values(a, "lm_head.weight");
  double sum = 0, squares = 0, fourth = 0;
  for (const float x : w) {
    sum += x;
    squares += static_cast<double>(x) * x;
    fourth += static_cast<double>(x) * x * x * x;
  }
  const double n = static_cast<double>(w.size()), variance = squares / n;
  CHECK(std::fabs(sum / n) < 4 * 0.02 / std::sqrt(n));
  CHECK(std::sqrt(variance) == doctest::Approx(0.02).epsilon(0.1));
  CHECK(fourth / n / variance / variance == doctest::Approx(3.0).epsilon(0.25));
  CHECK(to_hex(a.digest()) == "cc92f8f28e33901283bb5794b7d695af");
}
