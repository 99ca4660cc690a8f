#include <doctest/doctest.h>

#include <cstring>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/rng.h"
#include "model/element_convert.h"
#include "model/gguf_file.h"
#include "model/gguf_model.h"
#include "model/gguf_test_writer.h"
#include "model/hf_directory.h"
#include "model/safetensors.h"
#include "tests/support/errors.h"
#include "tests/support/support.h"

using namespace r1;
using nlohmann::json;

namespace {

using test::contains;

template <class F>
std::string refusal(F&& body) {
  try {
    body();
  } catch (const CheckpointError& e) {
    return e.what();
  }
  return "accepted";
}

std::vector<float> ramp(std::int64_t n, float start) {
  std::vector<float> v(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = start + 0.5f * static_cast<float>(i);
  return v;
}

// A one-layer model: width 8, 2 heads of 4 (1 kv head), ff 12, vocabulary 6.
struct Tiny {
  std::string arch = "llama", pre = "smollm", skip, rope_type;
  bool tied = true;
  test::GgufWriter extra;  // metadata and tensors beside the model's
  std::vector<std::int32_t> types = {3, 1, 1, 1, 4, 5};

  test::GgufWriter writer() const {
    test::GgufWriter w = extra;
    w.text("general.architecture", arch);
    for (const auto& [key, value] : std::vector<std::pair<std::string, std::uint32_t>>{
             {"block_count", 1}, {"embedding_length", 8}, {"feed_forward_length", 12}, {"context_length", 64},
             {"attention.head_count", 2}, {"attention.head_count_kv", 1}, {"attention.key_length", 4}})
      w.integer(arch + "." + key, value);
    w.number(arch + ".attention.layer_norm_rms_epsilon", 1e-5f);
    w.number(arch + ".rope.freq_base", 500000.f);
    if (!rope_type.empty()) w.text(arch + ".rope.scaling.type", rope_type), w.number(arch + ".rope.scaling.factor", 4.f);
    w.text("tokenizer.ggml.model", "gpt2");
    if (!pre.empty()) w.text("tokenizer.ggml.pre", pre);
    w.texts("tokenizer.ggml.tokens", {"<|end|>", "a", "b", "ab", "<think>", "[PAD5]"});
    w.integers("tokenizer.ggml.token_type", types);
    w.texts("tokenizer.ggml.merges", {"a b"});
    w.integer("tokenizer.ggml.eos_token_id", 0);
    w.integer("tokenizer.ggml.bos_token_id", 0);
    w.text("tokenizer.chat_template", "{{ messages }}");
    float start = 0;
    const auto add = [&](const std::string& name, std::vector<std::int64_t> shape) {
      std::int64_t n = 1;
      for (const auto s : shape) n *= s;
      if (name != skip) w.floats(name, shape, ramp(n, start));
      start += 1000;
    };
    add("token_embd.weight", {6, 8});
    for (const auto& [name, rows, cols] : std::vector<std::tuple<std::string, int, int>>{
             {"attn_q", 8, 8}, {"attn_k", 4, 8}, {"attn_v", 4, 8}, {"attn_output", 8, 8}, {"ffn_gate", 12, 8},
             {"ffn_up", 12, 8}, {"ffn_down", 8, 12}})
      add("blk.0." + name + ".weight", {rows, cols});
    add("blk.0.attn_norm.weight", {8});
    add("blk.0.ffn_norm.weight", {8});
    if (arch == "qwen2") add("blk.0.attn_q.bias", {8}), add("blk.0.attn_k.bias", {4}), add("blk.0.attn_v.bias", {4});
    if (arch == "qwen3") add("blk.0.attn_q_norm.weight", {4}), add("blk.0.attn_k_norm.weight", {4});
    add("output_norm.weight", {8});
    if (!tied) add("output.weight", {6, 8});
    return w;
  }
  std::filesystem::path save(const std::filesystem::path& path) const {
    writer().save(path);
    return path;
  }
};

}  // namespace

TEST_CASE("every block format equals the reference dequantisation, bit by bit") {
  const SafetensorsFile golden(std::filesystem::path(R1_SOURCE_DIR) / "tests/golden/model/gguf_blocks.safetensors");
  int checked = 0;
  for (std::uint32_t type = 0; type < 64; ++type) {
    const auto format = ggml_format(type);
    if (!format || type == 0) continue;
    CAPTURE(format->name);
    const TensorView &raw = golden.at(std::string(format->name) + ".raw"), &want = golden.at(std::string(format->name) + ".values");
    REQUIRE(raw.shape[1] == static_cast<std::int64_t>(format->block_bytes));
    REQUIRE(want.shape[1] == static_cast<std::int64_t>(format->block_elements));
    std::vector<float> ours(static_cast<std::size_t>(want.elements()));
    dequantize(static_cast<GgmlType>(type), raw.data, static_cast<std::size_t>(raw.shape[0]), ours.data());
    CHECK(std::memcmp(ours.data(), want.data, want.bytes()) == 0);
    ++checked;
  }
  CHECK(checked == 12);
}

TEST_CASE("a GGUF file: metadata of each type, tensors with reversed dimensions") {
  const test::TempDir dir;
  test::GgufWriter w;
  w.text("t", "täxt");
  w.integer("i", 4000000000u);
  w.number("f", 0.5f);
  w.flag("b", true);
  w.texts("ts", {"x", "", "z"});
  w.integers("is", {-1, 2});
  w.floats("m", {2, 3}, {1, 2, 3, 4, 5, 6});
  for (const std::uint32_t version : {2u, 3u}) {
    write_file_atomic(dir / "x.gguf", w.bytes(version));
    const GgufFile file(dir / "x.gguf");
    CHECK(file.text("t") == "täxt");
    CHECK(file.integer("i") == 4000000000);
    CHECK(file.number("f") == 0.5);
    CHECK(file.number("i") == 4e9);
    CHECK(file.flag("b", false));
    CHECK(file.flag("absent", true));
    CHECK(file.texts("ts") == std::vector<std::string>{"x", "", "z"});
    CHECK(file.integers("is") == std::vector<std::int64_t>{-1, 2});
    CHECK(file.at("m").shape == std::vector<std::int64_t>{2, 3});
    CHECK(file.floats(file.at("m")) == std::vector<float>{1, 2, 3, 4, 5, 6});
    CHECK(contains(refusal([&] { file.text("i"); }), "metadata key i is not a text"));
    CHECK(contains(refusal([&] { file.integer("gone"); }), "metadata key gone is missing"));
    CHECK(contains(refusal([&] { file.at("gone"); }), "tensor gone is missing"));
  }
}

TEST_CASE("a GGUF file cut off at any byte, or with one wrong byte, is refused or read within its bounds") {
  const test::TempDir dir;
  const std::string whole = Tiny().writer().bytes();
  for (std::size_t n = 0; n < whole.size(); n += n < 1200 ? 1 : 13) {
    test::write_plain(dir / "torn.gguf", whole.substr(0, n));
    const std::string text = refusal([&] { const GgufFile file(dir / "torn.gguf"); });
    if (text == "accepted") FAIL("cut at " << n << " of " << whole.size());
    CHECK(contains(text, "torn.gguf"));
  }
  StreamRng rng(5, 0);
  for (int i = 0; i < 600; ++i) {
    std::string damaged = whole;
    damaged[rng.below(std::min<std::size_t>(whole.size(), 1500))] ^= static_cast<char>(1u << rng.below(8));
    test::write_plain(dir / "damaged.gguf", damaged);
    try {
      const GgufModel model(dir / "damaged.gguf");
      for (const Parameter& p : model.parameters()) (void)model.tensor(p);
      (void)model.side_files();
    } catch (const Error&) {
    }
  }
}

TEST_CASE("what a GGUF file may not be") {
  const test::TempDir dir;
  const auto open = [&](const std::string& bytes) {
    test::write_plain(dir / "x", bytes);
    return refusal([&] { const GgufFile file(dir / "x"); });
  };
  CHECK(contains(open("GGML" + std::string(40, '\0')), "not a GGUF file"));
  CHECK(contains(open(test::GgufWriter().bytes(1)), "GGUF version 1; supported are little-endian 2 and 3"));
  test::GgufWriter w;
  w.tensor("w", {1, 32}, 20, std::string(18, 'x'));
  CHECK(contains(open(w.bytes()), "tensor w has format IQ4_NL; supported are F32, F16"));
  test::GgufWriter v;
  v.tensor("w", {1, 20}, 2, std::string(18, 'x'));
  CHECK(contains(open(v.bytes()), "rows of 20 elements, not a multiple of the Q4_0 block of 32"));
  test::GgufWriter u;
  u.floats("w", {1}, {1});
  u.floats("w", {1}, {1});
  CHECK(contains(open(u.bytes()), "tensor w is there twice"));
  test::GgufWriter t;
  t.integer("k", 1);
  t.integer("k", 2);
  CHECK(contains(open(t.bytes()), "twice"));
}

TEST_CASE("names and rows: Llama's q and k are un-permuted, Qwen's are not") {
  const test::TempDir dir;
  for (const std::string arch : {"llama", "qwen2", "qwen3"}) {
    CAPTURE(arch);
    Tiny tiny;
    tiny.arch = arch;
    tiny.tied = arch != "qwen2";
    const GgufModel model(tiny.save(dir / "m.gguf"));
    CHECK(model.config().model_type == arch);
    CHECK(model.config().head_dim == 4);
    CHECK(model.config().rms_norm_eps == 1e-5f);
    CHECK(model.config().rope_theta == 500000.0);
    CHECK(model.config().tie_word_embeddings == tiny.tied);
    CHECK(model.config().eos_token_ids == std::vector<TokenId>{0});
    WeightStore store(model.config(), DType::kF32);
    model.load_into(store);
    const auto row_start = [&](const std::string& name, std::size_t row) {
      float value;
      std::memcpy(&value, store.at(store.find(name)) + row * 8 * 4, 4);
      return value;
    };
    // Stored rows of q begin at 1000 + 4 * row. HF row (h, part, i) was stored as row (h, i, part), width 4: 0 2 1 3.
    const std::size_t order[8] = {0, 2, 1, 3, 4, 6, 5, 7};
    for (std::size_t r = 0; r < 8; ++r)
      CHECK(row_start("model.layers.0.self_attn.q_proj.weight", r) == 1000.f + 4.f * static_cast<float>(arch == "llama" ? order[r] : r));
    for (std::size_t r = 0; r < 4; ++r) {
      CHECK(row_start("model.layers.0.self_attn.k_proj.weight", r) == 2000.f + 4.f * static_cast<float>(arch == "llama" ? order[r] : r));
      CHECK(row_start("model.layers.0.self_attn.v_proj.weight", r) == 3000.f + 4.f * static_cast<float>(r));
    }
    CHECK(row_start("model.layers.0.mlp.down_proj.weight", 0) == 7000.f);
  }
}

TEST_CASE("rotary scaling: linear by key, Llama 3.1 by its frequency divisors") {
  const test::TempDir dir;
  Tiny tiny;
  tiny.rope_type = "linear";
  CHECK(GgufModel(tiny.save(dir / "a.gguf")).config().rope_scaling.kind == RopeScaling::Kind::kLinear);
  tiny.rope_type = "yarn";
  CHECK(contains(refusal([&] { GgufModel(tiny.save(dir / "b.gguf")); }), "rope.scaling.type is yarn; supported are none and linear"));

  Tiny llama3;  // frequencies 1 and 1/sqrt(5e5): wavelengths 6.28 (kept) and 4443 (between 2048 and 8192)
  ModelConfig config = GgufModel(Tiny().save(dir / "c.gguf")).config();
  const std::vector<float> plain = rope_inverse_frequencies(config);
  config.rope_scaling = {RopeScaling::Kind::kLlama3, 8, 1, 4, 8192};
  config.rope_theta = 500000;
  // Width 4 has no frequency below the lowest band, from which the factor is read: such a tensor is refused.
  const std::vector<float> scaled = rope_inverse_frequencies(config);
  llama3.extra.floats("rope_freqs.weight", {2}, {plain[0] / scaled[0], plain[1] / scaled[1]});
  CHECK(contains(refusal([&] { GgufModel(llama3.save(dir / "d.gguf")); }), "rope_freqs.weight is not Llama 3.1's scaling"));
  Tiny low;  // with an original context of 1024 the second frequency is in the low band: divided by the whole factor
  low.extra.integer("llama.rope.scaling.original_context_length", 1024);
  low.extra.floats("rope_freqs.weight", {2}, {1.f, 8.f});
  const ModelConfig found = GgufModel(low.save(dir / "e.gguf")).config();
  CHECK(found.rope_scaling.kind == RopeScaling::Kind::kLlama3);
  CHECK(found.rope_scaling.factor == 8.0);
  CHECK(found.rope_scaling.original_max_position_embeddings == 1024);
}

TEST_CASE("models that are not ours are refused by name") {
  const test::TempDir dir;
  const auto why = [&](const Tiny& tiny) { return refusal([&] { GgufModel(tiny.save(dir / "x.gguf")); }); };
  Tiny other;
  other.arch = "gemma3";
  CHECK(contains(why(other), "general.architecture is gemma3; supported architectures: llama, qwen2, qwen3"));
  Tiny moe;
  moe.extra.integer("llama.expert_count", 8);
  CHECK(contains(why(moe), "llama.expert_count is not supported"));
  Tiny no_moe;
  no_moe.extra.integer("llama.expert_count", 0);
  CHECK(why(no_moe) == "accepted");
  Tiny missing;
  missing.skip = "blk.0.ffn_up.weight";
  CHECK(contains(why(missing), "tensor blk.0.ffn_up.weight is missing"));
  Tiny extra;
  extra.extra.floats("blk.0.attn_sinks.weight", {1}, {1});
  CHECK(contains(why(extra), "tensor blk.0.attn_sinks.weight is not part of a llama model"));
}

TEST_CASE("tokenizer files") {
  const test::TempDir dir;
  const GgufModel model(Tiny().save(dir / "x.gguf"));
  const auto files = model.side_files();
  const json tokenizer = json::parse(files.at("tokenizer.json"));
  // Special tokens among the others stay in the vocabulary, later ones are added only, unused ones vanish.
  CHECK(tokenizer["model"]["vocab"] == json({{"<|end|>", 0}, {"a", 1}, {"b", 2}, {"ab", 3}}));
  CHECK(tokenizer["model"]["merges"] == json::array({{"a", "b"}}));
  REQUIRE(tokenizer["added_tokens"].size() == 2);
  CHECK(tokenizer["added_tokens"][0]["special"] == true);
  CHECK(tokenizer["added_tokens"][1]["content"] == "<think>");
  CHECK(tokenizer["added_tokens"][1]["special"] == false);
  CHECK(tokenizer["post_processor"].is_null());
  CHECK(tokenizer["pre_tokenizer"]["pretokenizers"][0]["type"] == "Digits");
  CHECK(files.at("chat_template.jinja") == "{{ messages }}");
  CHECK(json::parse(files.at("tokenizer_config.json"))["eos_token"] == "<|end|>");
  CHECK(json::parse(files.at("generation_config.json"))["eos_token_id"] == 0);

  Tiny llama3;
  llama3.pre = "llama-bpe";
  const json three = json::parse(GgufModel(llama3.save(dir / "y.gguf")).side_files().at("tokenizer.json"));
  CHECK(three["model"]["ignore_merges"] == true);
  CHECK(three["post_processor"]["type"] == "TemplateProcessing");
  llama3.extra.flag("tokenizer.ggml.add_bos_token", false);
  CHECK(json::parse(GgufModel(llama3.save(dir / "y.gguf")).side_files().at("tokenizer.json"))["post_processor"].is_null());

  const auto why = [&](Tiny tiny) {
    const GgufModel broken(tiny.save(dir / "z.gguf"));
    return refusal([&] { broken.side_files(); });
  };
  Tiny unknown;
  unknown.pre = "tekken";
  CHECK(contains(why(unknown), "tokenizer.ggml.pre is tekken; supported: gpt-2"));
  Tiny none;
  none.pre = "";
  CHECK(contains(why(none), "tokenizer.ggml.pre is absent"));
  Tiny short_types;
  short_types.types = {1, 1};
  CHECK(contains(why(short_types), "has 6 entries, token_type 2"));
}

TEST_CASE("convert writes a directory that loads with the same numbers, or nothing") {
  const test::TempDir dir;
  Tiny tiny;
  tiny.arch = "qwen2";
  tiny.tied = false;
  const auto gguf = tiny.save(dir / "m.gguf");
  convert_gguf_to_hf(gguf, dir / "hf", DType::kF32);
  const LoadedModel a = load_model(gguf, DType::kF32), b = load_model(dir / "hf", DType::kF32);
  CHECK(a.weights.digest() == b.weights.digest());
  CHECK(a.config.num_parameters() == b.config.num_parameters());
  CHECK(std::filesystem::exists(dir / "hf" / "tokenizer.json"));
  convert_gguf_to_hf(gguf, dir / "half", DType::kF16);
  CHECK(ModelDirectory(dir / "half").snapshot().tensors.front().dtype == DType::kF16);
  CHECK_THROWS_AS(convert_gguf_to_hf(gguf, dir / "hf", DType::kF32), IoError);
  CHECK_NOTHROW(convert_gguf_to_hf(gguf, dir / "hf", DType::kBF16, true));

  tiny.pre = "tekken";
  CHECK_THROWS_AS(convert_gguf_to_hf(tiny.save(dir / "n.gguf"), dir / "no", DType::kBF16), CheckpointError);
  CHECK_FALSE(std::filesystem::exists(dir / "no"));
  set_file_fault_hook([](FileOp op, const std::filesystem::path& p) { return op == FileOp::kWrite && contains(p.string(), "config") ? ENOSPC : 0; });
  CHECK_THROWS_AS(convert_gguf_to_hf(gguf, dir / "no", DType::kBF16), IoError);
  set_file_fault_hook({});
  for (const auto& entry : std::filesystem::directory_iterator(dir.path())) CHECK_FALSE(contains(entry.path().string(), "tmp-"));
  CHECK_FALSE(std::filesystem::exists(dir / "no"));
}
