// Converts the real SmolLM2-135M-Instruct GGUF and compares with what an independent converter in Python made of the same file:
// digests of its tensors and its tokenizer are written down here. The file: R1_TEST_GGUF, else where scripts/model.sh keeps it.
#include <doctest/doctest.h>

#include <cstdlib>

#include <nlohmann/json.hpp>

#include "core/digest.h"
#include "core/files.h"
#include "model/gguf_model.h"
#include "model/hf_directory.h"
#include "tests/support/support.h"

using namespace r1;

namespace {

namespace fs = std::filesystem;

fs::path find_gguf() {
  if (const char* set = std::getenv("R1_TEST_GGUF")) return set;
  std::error_code none;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(R1_SOURCE_DIR) / ".deps" / "gguf", none))
    if (entry.path().filename() == "SmolLM2-135M-Instruct.Q4_1.gguf") return entry.path();
  return {};
}

// Of every tensor's name, shape and bfloat16 bytes, in the order of names.
std::string digest_of_tensors(const ModelDirectory& directory) {
  std::map<std::string, const TensorView*> by_name;
  const WeightSnapshot snapshot = directory.snapshot();
  for (const TensorView& t : snapshot.tensors) by_name[t.name] = &t;
  Hasher hash;
  for (const auto& [name, t] : by_name) {
    REQUIRE(t->dtype == DType::kBF16);
    hash.update_field(name);
    for (const auto s : t->shape) hash.update_field(std::to_string(s));
    hash.update(t->data, t->bytes());
  }
  return to_hex(hash.digest());
}

// Of the content, whatever the order of keys and the white space.
std::string digest_of_json(const fs::path& file) { return to_hex(digest_of(nlohmann::json::parse(read_file(file)).dump())); }

void check(const fs::path& dir) {
  CHECK(digest_of_tensors(ModelDirectory(dir)) == "37730f4d3af80240d08296edd3483db3");
  CHECK(digest_of_json(dir / "tokenizer.json") == "41bfa88c599cfb7862412671525d3715");
  CHECK(digest_of_json(dir / "generation_config.json") == "951170d91ebb9ba7a488c13475d56fb8");
  CHECK(digest_of_json(dir / "special_tokens_map.json") == "c91bf8da161ee0a6f068f5a8362cc9c6");
  CHECK(to_hex(digest_of(read_file(dir / "chat_template.jinja"))) == "98f63cc3d421d28f99ab995e9629dacd");
}

}  // namespace

TEST_CASE("the SmolLM2 GGUF becomes the directory that the Python converter makes") {
  // The Python converter's own output, to check or renew the digests.
  if (const char* reference = std::getenv("R1_TEST_CONVERTED")) check(reference);
  const fs::path gguf = find_gguf();
  if (gguf.empty()) {
    test::skip("no SmolLM2-135M-Instruct.Q4_1.gguf: set R1_TEST_GGUF or run scripts/model.sh");
    return;
  }
  const test::TempDir dir;
  convert_gguf_to_hf(gguf, dir / "model", DType::kBF16);
  check(dir / "model");
  const ModelConfig config = ModelConfig::load(dir / "model");
  CHECK(config.num_parameters() == 134'515'008);
  CHECK(config.rope_theta == 100000.0);
  CHECK(config.rms_norm_eps == 1e-5f);
  CHECK(config.max_position_embeddings == 8192);
  CHECK(config.bos_token_id == 1);
  CHECK(config.pad_token_id == 2);
  CHECK(config.eos_token_ids == std::vector<TokenId>{2});
  // Loading the GGUF directly gives the same live weights.
  CHECK(load_model(gguf, DType::kBF16).weights.digest() == load_model(dir / "model", DType::kBF16).weights.digest());
}
