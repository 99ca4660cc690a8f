#include "model/hf_directory.h"

#include <doctest/doctest.h>

#include <cstring>
#include <fstream>

#include "core/error.h"
#include "core/files.h"
#include "model/gguf_test_writer.h"
#include "tests/support/errors.h"
#include "tests/support/support.h"

using namespace r1;

namespace {

namespace fs = std::filesystem;

ModelConfig tiny(bool tied, const std::string& extra = "") {
  return ModelConfig::from_json(
      std::string("{\"model_type\":\"llama\",\"hidden_size\":32,\"num_hidden_layers\":1,\"num_attention_heads\":2,"
                  "\"num_key_value_heads\":1,\"intermediate_size\":48,\"vocab_size\":33,\"torch_dtype\":\"float32\",\"my_note\":\"kept\","
                  "\"tie_word_embeddings\":") + (tied ? "true" : "false") + extra + "}", "tiny");
}

using test::contains;

template <class F>
std::string refusal(F&& body) {
  try {
    body();
  } catch (const Error& e) {
    return e.what();
  }
  return "accepted";
}

// Writes the tensors as they are, whatever they are.
void write_raw(const fs::path& dir, const ModelConfig& config, const std::vector<TensorView>& tensors) {
  fs::remove_all(dir);
  make_directories(dir);
  write_file_atomic(dir / "config.json", config.json);
  write_safetensors(dir / "model.safetensors", tensors);
}

}  // namespace

TEST_CASE("save and load: each type, tied or not, in one file or shards") {
  const test::TempDir dir;
  for (const bool tied : {true, false}) {
    WeightStore store(tiny(tied), DType::kBF16);
    init_random(store, 9, 0.05f);
    int number = 0;
    for (const DType type : {DType::kF32, DType::kBF16}) {
      for (const std::uint64_t shard : {std::uint64_t{1} << 40, std::uint64_t{5000}}) {
        SaveModelOptions options;
        options.dtype = type;
        options.shard_bytes = shard;
        options.side_files = {{"tokenizer.json", "{}"}};
        const fs::path path = dir / (std::string(tied ? "t" : "u") + std::to_string(number++));
        save_model_directory(path, tiny(tied), store.snapshot(0).tensors, options);
        CHECK(fs::exists(path / "model.safetensors.index.json") == (shard == 5000));
        const LoadedModel back = load_model(path, DType::kBF16);
        CHECK(back.weights.digest() == store.digest());
        CHECK(contains(back.config.json, type == DType::kF32 ? "\"torch_dtype\": \"float32\"" : "\"torch_dtype\": \"bfloat16\""));
        CHECK(contains(back.config.json, "\"my_note\": \"kept\""));
        CHECK(read_file(path / "tokenizer.json") == "{}");
      }
    }
  }
}

TEST_CASE("float16 weights load") {
  const test::TempDir dir;
  WeightStore store(tiny(true), DType::kBF16);
  init_random(store, 9, 0.05f);
  SaveModelOptions options;
  options.dtype = DType::kF16;
  save_model_directory(dir / "m", tiny(true), store.snapshot(0).tensors, options);
  const LoadedModel back = load_model(dir / "m", DType::kF32);
  float a = 0;
  std::memcpy(&a, back.weights.at(back.weights.find("model.norm.weight")), 4);
  CHECK(a == 1.f);
}

TEST_CASE("tokenizer files are copied, others are not") {
  const test::TempDir dir;
  make_directories(dir / "from");
  for (const char* name : {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json", "README.md", "pytorch_model.bin"})
    write_file_atomic(dir / "from" / name, name);
  WeightStore store(tiny(true), DType::kF32);
  SaveModelOptions options;
  options.side_files_from = dir / "from";
  options.side_files = {{"chat_template.jinja", "newer"}};
  save_model_directory(dir / "to", tiny(true), store.snapshot(0).tensors, options);
  CHECK(read_file(dir / "to" / "tokenizer_config.json") == "tokenizer_config.json");
  CHECK(read_file(dir / "to" / "chat_template.jinja") == "newer");
  CHECK_FALSE(fs::exists(dir / "to" / "README.md"));
  CHECK_FALSE(fs::exists(dir / "to" / "pytorch_model.bin"));
}

TEST_CASE("a scorer's directory: score.weight beside a backbone without LM head, as transformers' sequence classifiers have it") {
  const test::TempDir dir;
  ModelConfig language = tiny(false);
  language.eos_token_ids = {3};
  language.pad_token_id = 3;
  const ModelConfig config = language.as_scorer();
  CHECK(config.tie_word_embeddings);
  CHECK_FALSE(config.pad_token_id);  // it would hide the end token from transformers
  WeightStore store(config, DType::kF32);
  init_random(store, 4, 0.1f);
  std::vector<float> head(static_cast<std::size_t>(config.hidden_size), 0.25f);
  std::vector<TensorView> tensors = store.snapshot(0).tensors;
  const auto refused = [&](const std::vector<TensorView>& given) {
    return refusal([&] { save_model_directory(dir / "bad", config, given, {}); });
  };
  CHECK(contains(refused(tensors), "score.weight is missing"));
  tensors.push_back({"score.weight", DType::kF32, {1, config.hidden_size}, reinterpret_cast<const std::byte*>(head.data()), -1});
  SaveModelOptions options;
  options.dtype = DType::kF32;
  save_model_directory(dir / "m", config, tensors, options);
  const ModelDirectory back(dir / "m");
  CHECK(back.config().scalar_head);
  CHECK(back.snapshot().tensors.size() == tensors.size());
  CHECK(back.snapshot().tensors.back().name == "score.weight");
  WeightStore loaded(back.config(), DType::kF32);
  back.load_into(loaded);
  CHECK(loaded.digest() == store.digest());
  const std::string json = read_file(dir / "m" / "config.json");
  CHECK(contains(json, "ForSequenceClassification"));
  CHECK(contains(json, "\"pad_token_id\": null"));
  CHECK(contains(json, "\"num_labels\": 1"));
  std::string two = json;
  two.replace(two.find("\"0\": \"LABEL_0\""), 14, "\"0\": \"a\", \"1\": \"b\"");
  CHECK(contains(refusal([&] { ModelConfig::from_json(two, "two.json"); }), "2 labels"));
}

TEST_CASE("missing, unknown and misshapen tensors are named, with their file") {
  const test::TempDir dir;
  const ModelConfig config = tiny(false), tied = tiny(true);
  WeightStore store(config, DType::kF32);
  init_random(store, 1, 0.1f);
  const std::vector<TensorView> whole = store.snapshot(0).tensors;
  const auto why = [&](const ModelConfig& c, const std::vector<TensorView>& tensors) {
    write_raw(dir / "m", c, tensors);
    return refusal([&] { const ModelDirectory opened(dir / "m"); });
  };
  CHECK(why(config, whole) == "accepted");
  auto changed = whole;
  changed.erase(changed.begin() + 2);
  CHECK(contains(why(config, changed), "model.safetensors: tensor " + whole[2].name + " is missing"));
  changed = whole;
  changed.push_back(whole[3]);
  changed.back().name = "model.layers.1.self_attn.q_proj.weight";
  CHECK(contains(why(config, changed), "model.safetensors: tensor model.layers.1.self_attn.q_proj.weight is not part of a llama model"));
  changed.back().name = "model.layers.0.self_attn.rotary_emb.inv_freq";
  CHECK(why(config, changed) == "accepted");
  changed = whole;
  changed[0].shape = {32, 33};
  CHECK(contains(why(config, changed), "has shape [32, 33], config.json asks for [33, 32]"));
  changed = whole;
  changed[1].dtype = DType::kI32;
  CHECK(contains(why(config, changed), "has type I32; supported are F32, F16 and BF16"));
  // Tied: a head in the file must be the embedding.
  CHECK(contains(why(tied, whole), "lm_head.weight differs from model.embed_tokens.weight"));
  changed = whole;
  changed.back().data = whole.front().data;
  CHECK(why(tied, changed) == "accepted");
  changed.pop_back();
  CHECK(why(tied, changed) == "accepted");
  CHECK(contains(why(config, changed), "tensor lm_head.weight is missing"));
  fs::remove(dir / "m" / "model.safetensors");
  CHECK(contains(refusal([&] { const ModelDirectory opened(dir / "m"); }), "no weights"));
  fs::remove(dir / "m" / "config.json");
  CHECK(contains(refusal([&] { const ModelDirectory opened(dir / "m"); }), "config.json"));
}

TEST_CASE("saving checks the tensors and never destroys what is no model") {
  const test::TempDir dir;
  const ModelConfig config = tiny(false);
  WeightStore store(config, DType::kF32);
  std::vector<TensorView> tensors = store.snapshot(0).tensors;
  tensors.pop_back();
  CHECK(contains(refusal([&] { save_model_directory(dir / "m", config, tensors, {}); }), "tensor lm_head.weight is missing"));
  CHECK_FALSE(fs::exists(dir / "m"));
  tensors = store.snapshot(0).tensors;
  make_directories(dir / "precious");
  write_file_atomic(dir / "precious" / "thesis.txt", "x");
  SaveModelOptions overwrite;
  overwrite.overwrite = true;
  CHECK_THROWS_AS(save_model_directory(dir / "precious", config, tensors, overwrite), IoError);
  CHECK(fs::exists(dir / "precious" / "thesis.txt"));
  make_directories(dir / "empty");
  CHECK_NOTHROW(save_model_directory(dir / "empty", config, tensors, {}));
  CHECK(contains(refusal([&] { save_model_directory(dir / "empty", config, tensors, {}); }), "exists and is not empty"));
  CHECK_NOTHROW(save_model_directory(dir / "empty", config, tensors, overwrite));
}

TEST_CASE("a full disk or a forbidden folder leaves nothing") {
  const test::TempDir dir;
  WeightStore store(tiny(false), DType::kF32);
  const std::vector<TensorView> tensors = store.snapshot(0).tensors;
  int operations = 0;
  set_file_fault_hook([&](FileOp, const fs::path&) { return ++operations, 0; });
  save_model_directory(dir / "whole", tiny(false), tensors, {});
  REQUIRE(operations > 5);
  for (int fail_at = 1; fail_at <= operations; ++fail_at) {
    for (const int code : {ENOSPC, EACCES}) {
      int count = 0;
      set_file_fault_hook([&](FileOp, const fs::path&) { return ++count == fail_at ? code : 0; });
      const std::string text = refusal([&] { save_model_directory(dir / "m", tiny(false), tensors, {}); });
      set_file_fault_hook({});
      CHECK(contains(text, code == ENOSPC ? "No space left" : "Permission denied"));
      // The last sync comes after the rename: the folder is complete then.
      if (fs::exists(dir / "m")) {
        CHECK_NOTHROW(load_model(dir / "m", DType::kF32));
        CHECK(fail_at == operations);
        fs::remove_all(dir / "m");
      }
      CHECK(std::distance(fs::directory_iterator(dir.path()), fs::directory_iterator()) == 1);
    }
  }
}

TEST_CASE("what a user names is found, or the places are listed") {
  const test::TempDir dir;
  const auto model_at = [](const fs::path& path) {
    make_directories(path);
    write_file_atomic(path / "config.json", "{}");
  };
  const std::vector<fs::path> caches = {dir / "cache1", dir / "cache2"};
  const auto find = [&](const std::string& name) { return resolve_model(name, caches); };
  model_at(dir / "plain");
  CHECK(find((dir / "plain").string()) == dir / "plain");

  test::GgufWriter().save(dir / "a.gguf");
  CHECK(find((dir / "a.gguf").string()) == dir / "a.gguf");
  make_directories(dir / "ggufs");
  test::GgufWriter().save(dir / "ggufs" / "one.gguf");
  CHECK(find((dir / "ggufs").string()) == dir / "ggufs" / "one.gguf");
  test::GgufWriter().save(dir / "ggufs" / "two.gguf");
  CHECK(contains(refusal([&] { find((dir / "ggufs").string()); }), "there are 2 GGUF files"));
  write_file_atomic(dir / "text", "hello");
  CHECK(contains(refusal([&] { find((dir / "text").string()); }), "not a GGUF file"));

  const fs::path repository = dir / "cache2" / "models--org--name";
  model_at(repository / "snapshots" / "aaa");
  model_at(repository / "snapshots" / "bbb");
  make_directories(repository / "refs");
  write_file_atomic(repository / "refs" / "main", "aaa\n");
  CHECK(find("org/name") == repository / "snapshots" / "aaa");
  write_file_atomic(repository / "refs" / "main", "bbb");
  CHECK(find("org/name") == repository / "snapshots" / "bbb");
  fs::remove(repository / "refs" / "main");
  CHECK(find("org/name").parent_path() == repository / "snapshots");

  const std::string text = refusal([&] { find("org/other"); });
  CHECK(contains(text, "model org/other not found"));
  CHECK(contains(text, (dir / "cache1").string()));
  CHECK(contains(text, (dir / "cache2").string()));
  CHECK_THROWS_AS(find("../../etc"), CheckpointError);
  CHECK_THROWS_AS(find(""), CheckpointError);
}
