// Real tokenizers, chat templates, tasks and data sets of the team's data folder.
#include <doctest/doctest.h>

#include <map>

#include <nlohmann/json.hpp>

#include "text/dataset.h"
#include "text/shared_tokenizers.h"
#include "text/tasks.h"

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using r1::TokenId;

namespace {

std::vector<Json> rows_of(const fs::path& file) {
  std::ifstream in(file);
  std::vector<Json> rows;
  for (std::string line; std::getline(in, line);) rows.push_back(Json::parse(line));
  return rows;
}

// False, and the binary marked as skipped, where the folder is absent.
bool shared(fs::path& out) {
  out = r1::test::shared_dir();
  if (out.empty()) r1::test::skip("no shared data folder (R1_SHARED_DIR)");
  return !out.empty();
}

}  // namespace

TEST_CASE("released tokenizers give the expected ids") {
  fs::path dir;
  if (!shared(dir)) return;
  const r1::test::TempDir temp;
  const std::map<std::string, std::string> llama_cpp = {
      {"qwen2.5", "qwen2"}, {"llama3", "llama-bpe"}, {"gpt2", "gpt-2"}};
  for (const auto& [name, file] : r1::test::shared_tokenizers(dir, temp.path())) {
    CAPTURE(name);
    const auto tokenizer = r1::Tokenizer::load(file);
    auto rows = rows_of(dir / "data" / "tokenizers" / ("vectors_" + name + ".jsonl"));
    CHECK(rows.size() == 286);
    if (llama_cpp.contains(name)) {
      const auto more = rows_of(dir / "data" / "tokenizers" / ("llamacpp_" + llama_cpp.at(name) + ".jsonl"));
      CHECK(more.size() == 46);
      for (Json row : more) rows.push_back(std::move(row));
    }
    for (const Json& row : rows) {
      const std::string text = row["text"], decoded = row.value("decoded", text);
      CAPTURE(text);
      const auto ids = row["ids"].get<std::vector<TokenId>>();
      CHECK(tokenizer->encode(text) == ids);
      CHECK(tokenizer->decode(ids, false) == decoded);
      r1::IncrementalDecoder stream(tokenizer, false);
      std::string streamed;
      for (TokenId id : ids) streamed += stream.push(id);
      CHECK(streamed + stream.finish() == decoded);
    }
  }
}

TEST_CASE("released chat templates render as transformers renders them") {
  fs::path dir;
  if (!shared(dir)) return;
  const auto rows = rows_of(dir / "data" / "chat_templates" / "vectors.jsonl");
  CHECK(rows.size() == 90);
  for (const Json& row : rows) {
    const std::string name = row["template"], what = row["case"];
    CAPTURE(name);
    CAPTURE(what);
    const r1::ChatTemplate chat(r1::read_data_file((dir / "data" / "chat_templates" / (name + ".jinja")).string()));
    r1::ChatTemplate::Options options;
    options.bos_token = row["bos_token"];
    options.eos_token = row["eos_token"];
    options.add_generation_prompt = row["add_generation_prompt"];
    if (row.contains("tools") && !row["tools"].is_null()) options.tools_json = row["tools"].dump();
    if (row.contains("enable_thinking"))
      options.variables_json = Json{{"enable_thinking", row["enable_thinking"]}}.dump();
    CHECK(chat.render_json(row["messages"].dump(), options) == row["expected"].get<std::string>());
  }
}

TEST_CASE("generated tasks are the kept files, byte for byte") {
  fs::path dir;
  if (!shared(dir)) return;
  int files = 0;
  for (const auto& entry : fs::directory_iterator(dir / "data" / "quickstart_tasks")) {
    if (entry.path().extension() != ".jsonl") continue;
    ++files;
    std::ifstream in(entry.path());
    std::int64_t index = 0;
    for (std::string line; std::getline(in, line); ++index) {
      const Json row = Json::parse(line);
      const bool test = entry.path().stem().string().ends_with("_test");
      const std::string made = r1::make_task_line({row["task"], row["level"], test ? "test" : "train", 0}, index);
      CHECK(made == line);
      if (made != line) break;
    }
    CHECK(index >= 100);
  }
  CHECK(files == 32);
}

TEST_CASE("real data sets load with the default columns") {
  fs::path dir;
  if (!shared(dir)) return;
  const r1::test::TempDir temp;
  std::ofstream(temp / "t.json") << r1::read_data_file(
      (dir / "data" / "tokenizers" / "smollm2.tokenizer.json.gz").string());
  const auto tokenizer = r1::Tokenizer::load(temp / "t.json");
  for (const auto& [name, rows] : std::map<std::string, std::size_t>{{"gsm8k/train.jsonl", 7473},
                                                                     {"math/math500_even.jsonl", 250},
                                                                     {"word_problems/*.jsonl", 2850},
                                                                     {"quickstart_tasks/add2_test.jsonl", 100},
                                                                     {"competition_math/aime2024.jsonl", 30}}) {
    r1::DatasetOptions options;
    options.paths = {(dir / "data" / name).string()};
    options.prompt_template = "r1_zero";
    const auto set = r1::load_prompts(options, tokenizer);
    CAPTURE(name);
    CHECK(set.prompts.size() == rows);
    for (const auto& p : set.prompts) {
      CHECK_FALSE(p.reference.empty());
      if (name.starts_with("gsm8k")) {
        std::string plain = p.reference;
        std::erase(plain, ',');
        CHECK(plain == Json::parse(p.columns.at("final")).get<std::string>());
      }
      if (p.reference.empty()) break;
    }
  }
}
