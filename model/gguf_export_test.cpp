// A file that was written says what the model says: by the reader, whose own truth are files of others (gguf_test.cpp).
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/rng.h"
#include "model/element_convert.h"
#include "model/gguf_export.h"
#include "model/gguf_model.h"
#include "model/gguf_quantize.h"
#include "model/golden_model.h"
#include "tests/support/errors.h"
#include "tests/support/support.h"

using namespace r1;
using nlohmann::json;

namespace {

template <class F>
std::string refusal(F&& body) {
  try {
    body();
  } catch (const Error& e) {
    return e.what();
  }
  return "accepted";
}
using test::contains;

// SmolLM2's way of cutting, six tokens.
json small_tokenizer() {
  return json::parse(R"({"added_tokens":[{"id":0,"content":"<|end|>","special":true},{"id":5,"content":"<think>","special":false}],
    "normalizer":null,"post_processor":null,
    "pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},
                                                         {"add_prefix_space":false,"type":"ByteLevel","trim_offsets":false,"use_regex":true}]},
    "model":{"type":"BPE","ignore_merges":false,"byte_fallback":false,"vocab":{"<|end|>":0,"a":1,"b":2,"ab":3,"c":4},"merges":["a b"]}})");
}
GgufTokenizer carried(const json& tokenizer) { return {tokenizer.dump(), TokenId{0}, TokenId{5}, "{{ messages }}"}; }

ModelConfig wide_config() {
  ModelConfig c;
  c.model_type = "qwen3", c.qk_norm = true, c.tie_word_embeddings = false;
  c.hidden_size = 256, c.num_hidden_layers = 1, c.num_attention_heads = 4, c.num_key_value_heads = 2, c.head_dim = 64;
  c.intermediate_size = 288, c.vocab_size = 40, c.max_position_embeddings = 128;  // 288: whole blocks of 32, not of 256
  return c;
}

std::vector<float> gaussian(std::size_t n, std::uint64_t seed) {
  StreamRng rng(seed, 1);
  std::vector<float> v(n);
  for (float& x : v) x = static_cast<float>(std::sqrt(-2 * std::log(1 - rng.uniform())) * std::cos(6.283185307179586 * rng.uniform()));
  return v;
}

double relative_error(const std::vector<float>& want, GgmlType type) {
  const GgmlFormat format = *ggml_format(static_cast<std::uint32_t>(type));
  std::vector<std::byte> bytes(want.size() / format.block_elements * format.block_bytes);
  std::vector<float> got(want.size());
  quantize(type, want.data(), want.size(), bytes.data());
  dequantize(type, bytes.data(), want.size() / format.block_elements, got.data());
  double error = 0, square = 0;
  for (std::size_t i = 0; i < want.size(); ++i) error += std::pow(double{got[i]} - want[i], 2), square += std::pow(double{want[i]}, 2);
  return std::sqrt(error / square);
}

}  // namespace

TEST_CASE("every family's golden model: float32 comes back to the bit, with its configuration") {
  const test::TempDir dir;
  ComputePool pool(1);
  for (const std::string& family : test::kGoldenFamilies) {
    CAPTURE(family);
    const LoadedModel model = load_model(test::GoldenModel(family).model.path(), DType::kF32);
    const auto path = dir / (family + ".gguf");
    const GgufExportReport report = export_gguf(model.config, model.weights, carried(small_tokenizer()), family, GgmlType::kF32, path, pool);
    CHECK(report.changed == 0);
    CHECK(report.bytes == std::filesystem::file_size(path));
    const LoadedModel back = load_model(path, DType::kF32);
    CHECK(back.weights.digest() == model.weights.digest());
    CHECK(rope_inverse_frequencies(back.config) == rope_inverse_frequencies(model.config));
    CHECK(back.config.rms_norm_eps == model.config.rms_norm_eps);
    CHECK(back.config.num_key_value_heads == model.config.num_key_value_heads);
    CHECK(back.config.max_position_embeddings == model.config.max_position_embeddings);
    CHECK(GgufFile(path).text("general.name") == family);
  }
}

TEST_CASE("float16 holds bfloat16's values from 2^-17 to 65504 exactly; what changes is counted, what is too large refused") {
  const test::TempDir dir;
  ComputePool pool(2);
  const ModelConfig config = wide_config();
  WeightStore weights(config, DType::kF32);
  init_random(weights, 3, 0.05f);
  const Parameter& gate = weights.find("model.layers.0.mlp.gate_proj.weight");
  for (const Parameter& p : weights.parameters()) {
    auto* x = reinterpret_cast<float*>(weights.at(p));
    for (std::int64_t i = 0; i < p.elements; ++i) {
      x[i] = bf16_to_float(float_to_bf16(x[i]));
      if (std::fabs(x[i]) < 0x1p-17f) x[i] = 0x1p-17f;
    }
  }
  auto* x = reinterpret_cast<float*>(weights.at(gate));
  x[0] = 0x1.FEp15f, x[1] = -0x1.02p-17f;  // the ends of the range, eight digits each
  const auto write = [&](GgmlType type) {
    return export_gguf(config, weights, carried(small_tokenizer()), "wide", type, dir / "m.gguf", pool);
  };
  CHECK(write(GgmlType::kF16).changed == 0);
  CHECK(load_model(dir / "m.gguf", DType::kF32).weights.digest() == weights.digest());
  CHECK(write(GgmlType::kBF16).changed == 0);
  x[2] = 0x1.02p-18f;  // one digit more than a half that small has
  const GgufExportReport report = write(GgmlType::kF16);
  CHECK(report.changed == 1);
  CHECK(report.error > 0);
  CHECK(report.error < 1e-6);
  x[3] = 70000.f;
  const std::string why = refusal([&] { write(GgmlType::kF16); });
  CHECK(contains(why, "tensor model.layers.0.mlp.gate_proj.weight has a value that F16 cannot hold"));
  CHECK(contains(why, "write bf16 or f32"));
  CHECK(write(GgmlType::kBF16).changed == 1);
}

TEST_CASE("formats by tensor: vectors stay float32, widths that fill no block take the next finer format") {
  const test::TempDir dir;
  ComputePool pool(1);
  const ModelConfig config = wide_config();
  WeightStore weights(config, DType::kF32);
  init_random(weights, 3, 0.05f);
  const auto formats = [&](GgmlType type, const ModelConfig& c) {
    export_gguf(c, weights, carried(small_tokenizer()), "wide", type, dir / "m.gguf", pool);
    std::map<std::string, std::string> out;
    const GgufFile file(dir / "m.gguf");
    for (const GgufTensor& t : file.tensors()) out[t.name] = ggml_type_name(static_cast<std::uint32_t>(t.type));
    return out;
  };
  auto q4 = formats(GgmlType::kQ4_K, config);
  CHECK(q4["blk.0.attn_q.weight"] == "Q4_K");
  CHECK(q4["blk.0.ffn_down.weight"] == "Q8_0");  // rows of 288
  CHECK(q4["token_embd.weight"] == "Q4_K");
  CHECK(q4["output.weight"] == "Q8_0");
  CHECK(q4["blk.0.attn_q_norm.weight"] == "F32");
  CHECK(q4["output_norm.weight"] == "F32");
  CHECK(formats(GgmlType::kQ8_0, config)["blk.0.ffn_down.weight"] == "Q8_0");
  // Half a step of 1/127 of a row's largest value, 4.5 sigma.
  const LoadedModel back = load_model(dir / "m.gguf", DType::kF32);
  const auto* a = reinterpret_cast<const float*>(weights.data());
  const auto* b = reinterpret_cast<const float*>(back.weights.data());
  float largest = 0;
  for (std::int64_t i = 0; i < weights.elements(); ++i) largest = std::max(largest, std::fabs(a[i] - b[i]));
  CHECK(largest > 0);
  CHECK(largest <= 0.004 * 0.05 * 4.5);
}

TEST_CASE("Q8_0 gives the reference's bits; Q4_K stays near what its steps allow, exact where values lie on a grid") {
  const SafetensorsFile golden(std::filesystem::path(R1_SOURCE_DIR) / "tests/golden/model/gguf_quantized.safetensors");
  const TensorView &values = golden.at("values"), &raw = golden.at("Q8_0");
  std::vector<std::byte> bytes(raw.bytes());
  std::vector<float> in(static_cast<std::size_t>(values.elements()));
  std::memcpy(in.data(), values.data, values.bytes());
  quantize(GgmlType::kQ8_0, in.data(), in.size(), bytes.data());
  CHECK(std::memcmp(bytes.data(), raw.data, raw.bytes()) == 0);

  const std::vector<float> normal = gaussian(256 * 200, 5);
  const double q4 = relative_error(normal, GgmlType::kQ4_K), q8 = relative_error(normal, GgmlType::kQ8_0);
  // A grid of 16 steps over the range of 32 normal values (4.1 sigma on average) errs by 4.1/15/sqrt(12) = 0.079.
  CHECK(q4 > 0.05);
  CHECK(q4 < 0.076);
  CHECK(q8 < 0.006);
  CHECK(relative_error(gaussian(256 * 20, 6), GgmlType::kF16) < 3e-4);

  std::vector<float> grid(256);
  for (std::size_t s = 0; s < 8; ++s)
    for (std::size_t j = 0; j < 32; ++j) grid[s * 32 + j] = 0.25f * static_cast<float>(s < 4 ? 63 : 21) * static_cast<float>(j % 16) - (s % 2 ? 63.f : 0.f);
  CHECK(relative_error(grid, GgmlType::kQ4_K) < 1e-6);
  CHECK(relative_error(std::vector<float>(256, -0.75f), GgmlType::kQ4_K) < 1e-3);
  std::vector<std::byte> zero(144);
  std::vector<float> back(256, 1.f);
  quantize(GgmlType::kQ4_K, std::vector<float>(256, 0.f).data(), 256, zero.data());
  dequantize(GgmlType::kQ4_K, zero.data(), 1, back.data());
  CHECK(back == std::vector<float>(256, 0.f));
}

TEST_CASE("tokenizer: back to the same vocabulary, merges, special tokens and template, or a refusal that names the part") {
  const test::TempDir dir;
  ComputePool pool(1);
  ModelConfig config = wide_config();
  config.eos_token_ids = {4, 0};
  const WeightStore weights(config, DType::kF32);
  const auto write = [&](const json& tokenizer) {
    export_gguf(config, weights, carried(tokenizer), "wide", GgmlType::kF32, dir / "m.gguf", pool);
    const GgufModel model(dir / "m.gguf");
    CHECK(model.config().eos_token_ids == std::vector<TokenId>{0, 4});  // the tokenizer's own first
    return model.side_files();
  };
  json given = small_tokenizer();
  auto files = write(given);
  json back = json::parse(files.at("tokenizer.json"));
  CHECK(back["model"]["vocab"] == given["model"]["vocab"]);
  CHECK(back["model"]["merges"] == json::parse(R"([["a","b"]])"));
  CHECK(back["added_tokens"].size() == 2);
  CHECK(back["added_tokens"][1]["content"] == "<think>");
  CHECK(back["added_tokens"][1]["special"] == false);
  CHECK(back["post_processor"].is_null());
  CHECK(files.at("chat_template.jinja") == "{{ messages }}");
  CHECK(json::parse(files.at("tokenizer_config.json"))["pad_token"] == "<think>");
  const GgufFile file(dir / "m.gguf");
  CHECK(file.text("tokenizer.ggml.pre") == "smollm");
  CHECK(file.texts("tokenizer.ggml.tokens").size() == 40);
  CHECK(file.integers("tokenizer.ggml.token_type")[39] == 5);

  // Merges as pairs, a start token by a template after a byte-level step.
  given["model"]["merges"] = json::parse(R"([["a", "b"]])");
  given["post_processor"] = json::parse(R"({"type":"Sequence","processors":[{"type":"ByteLevel","add_prefix_space":false},
    {"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<|end|>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"pair":[],
     "special_tokens":{"<|end|>":{"id":"<|end|>","ids":[0],"tokens":["<|end|>"]}}}]})");
  files = write(given);
  back = json::parse(files.at("tokenizer.json"));
  CHECK(back["post_processor"]["single"][0]["SpecialToken"]["id"] == "<|end|>");
  CHECK(back["model"]["merges"] == given["model"]["merges"]);

  const auto why = [&](auto&& change) {
    json broken = small_tokenizer();
    change(broken);
    return refusal([&] { write(broken); });
  };
  CHECK(contains(why([](json& t) { t["pre_tokenizer"]["pretokenizers"][0]["individual_digits"] = false; }), "of no kind known here (gpt-2, smollm"));
  CHECK(contains(why([](json& t) { t["normalizer"] = {{"type", "Lowercase"}}; }), "of no kind known here"));
  CHECK(contains(why([](json& t) { t["model"]["byte_fallback"] = true; }), "only byte-level BPE"));
  CHECK(contains(why([](json& t) { t["model"]["vocab"]["zz"] = 40; }), "token \"zz\" has id 40, the model's vocabulary 40 rows"));
  CHECK(contains(why([](json& t) { t["post_processor"] = {{"type", "BertProcessing"}}; }), "post_processor is of type BertProcessing"));
  CHECK(contains(why([](json& t) { t["model"].erase("merges"); }), "tokenizer.json is damaged"));
  CHECK(why([](json&) {}) == "accepted");
}

TEST_CASE("what a file could not carry is refused") {
  const test::TempDir dir;
  ComputePool pool(1);
  const auto why = [&](auto&& change) {
    ModelConfig config = wide_config();
    change(config);
    return refusal([&] { export_gguf(config, WeightStore(wide_config(), DType::kF32), carried(small_tokenizer()), "x", GgmlType::kF16, dir / "x.gguf", pool); });
  };
  CHECK(contains(why([](ModelConfig& c) { c.model_type = "olmo2"; }), "model_type is olmo2; supported are llama, qwen2 and qwen3"));
  CHECK(contains(why([](ModelConfig& c) { c.sliding_window = 16; }), "it has sliding-window attention"));
  CHECK(contains(why([](ModelConfig& c) { c.scalar_head = true; }), "it is a reward model"));
  CHECK_FALSE(std::filesystem::exists(dir / "x.gguf"));
  CHECK(parse_gguf_type("Q4_K") == GgmlType::kQ4_K);
  CHECK(contains(refusal([] { parse_gguf_type("q5_k"); }), "not written as q5_k; there are f32, f16, bf16, q8_0, q4_k"));
}
