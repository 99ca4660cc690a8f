// Masks of released chat templates with their tokenizers, on conversations of the team's data folder.
#include <doctest/doctest.h>

#include <fstream>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "sft/training_text.h"
#include "text/shared_tokenizers.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;

struct Released {
  const char *file, *tokenizer;
  std::vector<std::string> stop;
};

// What is trained, piece by piece.
std::vector<std::string> trained_pieces(const TrainingText& t, const Tokenizer& tokenizer) {
  std::vector<std::string> out;
  for (std::size_t begin = 0, end = 0; begin < t.tokens.size(); begin = end) {
    while (end < t.tokens.size() && t.loss_mask[end] == t.loss_mask[begin]) ++end;
    if (t.loss_mask[begin])
      out.push_back(
          tokenizer.decode({t.tokens.begin() + static_cast<std::ptrdiff_t>(begin), t.tokens.begin() + static_cast<std::ptrdiff_t>(end)}, false));
  }
  return out;
}

}  // namespace

TEST_CASE("released templates: each assistant turn and its stop token are trained, nothing else") {
  const std::filesystem::path shared = test::shared_dir();
  if (shared.empty()) return test::skip("no shared data folder (R1_SHARED_DIR)");
  const test::TempDir temp;
  std::map<std::string, std::shared_ptr<const Tokenizer>> tokenizers;
  for (const auto& t : test::shared_tokenizers(shared, temp.path())) tokenizers[t.name] = Tokenizer::load(t.file);
  const Released cases[] = {{"smollm2-instruct", "smollm2", {"<|im_end|>"}},
                            {"qwen2.5-instruct", "qwen2.5", {"<|im_end|>", "<|endoftext|>"}},
                            {"qwen3", "qwen3", {"<|im_end|>", "<|endoftext|>"}},
                            {"deepseek-r1-distill-qwen", "deepseek-v3", {"<｜end▁of▁sentence｜>"}}};
  std::vector<Json> rows;
  std::ifstream in(shared / "data/chat/conversations.jsonl");
  for (std::string line; std::getline(in, line);) rows.push_back(Json::parse(line));
  REQUIRE(rows.size() == 128);
  // Two turns more, so that every template has a history to write.
  for (std::size_t i = 0; i + 1 < 128; i += 9) {
    Json both = rows[i];
    for (const Json& m : rows[i + 1]["messages"])
      if (m["role"] != "system") both["messages"].push_back(m);
    rows.push_back(both);
  }
  for (const Released& c : cases) {
    CAPTURE(c.file);
    const auto& tokenizer = tokenizers.at(c.tokenizer);
    DatasetOptions options;
    options.prompt_template = "file";
    options.template_file = (shared / "data/chat_templates" / (std::string(c.file) + ".jinja")).string();
    std::vector<TokenId> stop;
    for (const std::string& s : c.stop) stop.push_back(*tokenizer->token_id(s));
    const TrainingTextMaker maker(options, tokenizer, stop);
    std::size_t turns = 0;
    for (const Json& row : rows) {
      const std::string messages = row["messages"].dump();
      CAPTURE(messages);
      std::vector<std::string> pieces;
      for (const TrainingText& t : maker.make(messages, 0, "", "row"))
        for (std::string& piece : trained_pieces(t, *tokenizer)) pieces.push_back(std::move(piece));
      std::vector<std::string> contents;
      for (const Json& m : row["messages"])
        if (m["role"] == "assistant") contents.push_back(m["content"]);
      REQUIRE(pieces.size() == contents.size());
      turns += pieces.size();
      for (std::size_t i = 0; i < pieces.size(); ++i) {
        // Qwen3 writes an empty thinking block in front of a last turn that has none.
        std::string piece = pieces[i];
        const std::string empty = "<think>\n\n</think>\n\n";
        if (piece.starts_with(empty) && std::string(c.file) == "qwen3") piece = piece.substr(empty.size());
        CHECK(piece == contents[i] + c.stop[0]);
      }
    }
    CHECK(turns > 140);
  }
}

}  // namespace r1
