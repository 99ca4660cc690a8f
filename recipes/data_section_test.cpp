#include "recipes/data_section.h"

#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/files.h"
#include "rewards/factory.h"
#include "tests/support/errors.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

// One token a byte, no special tokens, a chat template of one line.
class ByteTokenizer : public Tokenizer {
 public:
  std::vector<TokenId> encode(std::string_view text, bool) const override {
    std::vector<TokenId> out;
    for (const char c : text) out.push_back(static_cast<unsigned char>(c));
    return out;
  }
  std::string decode(const std::vector<TokenId>& ids, bool) const override {
    std::string out;
    for (const TokenId id : ids) out += static_cast<char>(id);
    return out;
  }
  const std::string& token_bytes(TokenId id) const override { return bytes_.at(static_cast<std::size_t>(id)); }
  bool is_special(TokenId) const override { return false; }
  std::optional<TokenId> token_id(std::string_view) const override { return std::nullopt; }
  std::int32_t vocab_size() const override { return 256; }
  std::optional<TokenId> bos() const override { return std::nullopt; }
  std::optional<TokenId> eos() const override { return std::nullopt; }
  std::optional<TokenId> pad() const override { return std::nullopt; }
  const std::string& chat_template() const override { return template_; }

 private:
  std::vector<std::string> bytes_ = [] {
    std::vector<std::string> out;
    for (int i = 0; i < 256; ++i) out.emplace_back(1, static_cast<char>(i));
    return out;
  }();
  std::string template_ = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}[assistant]";
};

Rubric rubric(const std::string& name) {
  std::vector<Rubric::Entry> entries(1);
  entries[0].reward = make_reward(name);
  return Rubric(std::move(entries));
}

RecipePrompts load(const DataSection& data, const std::string& reward = "math") {
  return load_recipe_prompts(data, "data", std::make_shared<ByteTokenizer>(), rubric(reward));
}
using test::contains;
using test::error_of;

DataSection generated(const std::string& task, int level, std::int64_t n, const std::string& split = "train",
                      bool distinct = false) {
  DataSection d;
  d.generate = GeneratedData{task, level, n, 0, split, distinct};
  return d;
}

TEST_CASE("generated tasks become prompts with gold answers") {
  const auto prompts = load(generated("add", 2, 50)).prompts;
  REQUIRE(prompts.size() == 50);
  CHECK(prompts[0].id == "add2-train-0-0");
  CHECK(prompts[0].task == "add");
  CHECK(contains(prompts[0].text, "[user] What is 95 + 86?\n[assistant]"));  // the first row of the published set
  CHECK(prompts[0].reference == "181");
  CHECK(prompts[0].tokens.size() == prompts[0].text.size());
  const auto countdown = load(generated("countdown", 3, 20), "countdown").prompts;
  CHECK(contains(countdown[0].columns.at("numbers"), "["));
  DataSection limited = generated("add", 2, 50);
  limited.limit = 7;
  CHECK(load(limited).prompts.size() == 7);
}

TEST_CASE("distinct prompts: the first n different ones, and never one of the other split") {
  const auto test_prompts = load(generated("add", 2, 300, "test", true)).prompts;
  const auto train_prompts = load(generated("add", 2, 2000)).prompts;
  std::set<std::string> texts, train;
  for (const Prompt& p : test_prompts) texts.insert(p.text);
  for (const Prompt& p : train_prompts) train.insert(p.text);
  CHECK(texts.size() == 300);
  for (const std::string& text : texts) CHECK_FALSE(train.contains(text));
  CHECK(
      contains(error_of<ConfigError>([] { load(generated("add", 1, 1000, "test", true)); }), "different test prompts"));
  CHECK(contains(error_of<ConfigError>([] { load(generated("addition", 1, 10)); }), "addition"));
}

TEST_CASE("files: instruction, columns, and rows that no reward can judge") {
  test::TempDir tmp;
  DataSection d;
  d.files = {(tmp / "rows.jsonl").string()};
  const auto write = [&](const std::string& text) { write_file_atomic(d.files[0], text); };
  write("{\"question\": \"1+1?\", \"answer\": \"so 2\\n#### 2\"}\n{\"question\": \"2+2?\", \"answer\": \"4\"}\n");
  d.instruction = "Use \\boxed{}.";
  auto prompts = load(d).prompts;
  REQUIRE(prompts.size() == 2);
  CHECK(contains(prompts[0].text, "1+1?\nUse \\boxed{}.\n"));
  d.instruction.clear();

  write(
      "{\"question\": \"1+1?\", \"answer\": \"2\"}\n{\"question\": \"2+2?\"}\n{\"question\": \"3+3?\", \"answer\": \" "
      "\"}\n");
  const std::string error = error_of<DataError>([&] { load(d); });
  CHECK(contains(error, "2 of 3 prompts cannot be scored"));
  CHECK(contains(error, "on_error: skip"));
  d.skip_bad_rows = true;
  RecipePrompts some = load(d);
  CHECK(some.prompts.size() == 1);
  CHECK(some.skipped.size() == 2);
  CHECK(contains(some.skipped[0], "gold"));

  write("{\"question\": \"2+2?\"}\n");
  CHECK(contains(error_of<DataError>([&] { load(d); }), "no prompt can be scored"));
  d.skip_bad_rows = false;
  d.prompt = "problem";  // column missing
  const std::string column = error_of<DataError>([&] { load(d); });
  CHECK(contains(column, "problem"));
  CHECK(contains(column, "question"));
  d.prompt.clear();
  write("");  // empty data
  CHECK(contains(error_of<DataError>([&] { load(d); }), "rows.jsonl"));
  write("{\"question\": \n");  // bad JSON
  CHECK(contains(error_of<DataError>([&] { load(d); }), "rows.jsonl:1"));
  write("{\"question\": \"" + std::string(100, 'x') + "\", \"answer\": \"1\"}\n");
  d.max_prompt_tokens = 50;
  CHECK(contains(error_of<DataError>([&] { load(d); }), "50"));
  d.files = {(tmp / "none.jsonl").string()};
  CHECK(contains(error_of<DataError>([&] { load(d); }), "none.jsonl"));
}

}  // namespace
}  // namespace r1
