#include <doctest/doctest.h>

#include <fstream>
#include <set>

#include <nlohmann/json.hpp>
#include <zlib.h>
#include <zstd.h>

#include "core/error.h"
#include "tests/support/support.h"
#include "text/dataset.h"

using r1::DatasetOptions;
using r1::Prompt;
using r1::TokenId;

namespace {

// One token a byte; "^" stands before a text that is encoded with special tokens.
class ByteTokenizer final : public r1::Tokenizer {
 public:
  explicit ByteTokenizer(std::string chat) : chat_(std::move(chat)) {
    for (int b = 0; b < 256; ++b) bytes_.emplace_back(1, static_cast<char>(b));
  }
  std::vector<TokenId> encode(std::string_view text, bool add_special) const override {
    std::vector<TokenId> ids;
    if (add_special) ids.push_back('^');
    for (char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }
  std::string decode(const std::vector<TokenId>& ids, bool) const override {
    std::string out;
    for (TokenId id : ids) out += bytes_[static_cast<std::size_t>(id)];
    return out;
  }
  const std::string& token_bytes(TokenId id) const override { return bytes_[static_cast<std::size_t>(id)]; }
  bool is_special(TokenId) const override { return false; }
  std::optional<TokenId> token_id(std::string_view) const override { return std::nullopt; }
  std::int32_t vocab_size() const override { return 256; }
  std::optional<TokenId> bos() const override { return '['; }
  std::optional<TokenId> eos() const override { return ']'; }
  std::optional<TokenId> pad() const override { return std::nullopt; }
  const std::string& chat_template() const override { return chat_; }

 private:
  std::string chat_;
  std::vector<std::string> bytes_;
};

const char* const kChat =
    "{{ bos_token }}{% for m in messages %}{{ m.role[0] }}:{{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if tools %}T{{ tools | length }}{% endif %}{% if style %}{{ style }}{% endif %}a:";

struct Fixture {
  r1::test::TempDir dir;
  std::shared_ptr<const r1::Tokenizer> tokenizer = std::make_shared<ByteTokenizer>(kChat);
  DatasetOptions options;

  std::string write(const std::string& name, const std::string& text) {
    const auto path = (dir / name).string();
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }
  std::vector<Prompt> load(const std::string& text, const std::string& name = "d.jsonl") {
    options.paths = {write(name, text)};
    return r1::load_prompts(options, tokenizer).prompts;
  }
  std::string error(const std::string& text) {
    try {
      load(text);
      return "no error";
    } catch (const r1::Error& e) {
      return e.what();
    }
  }
};

bool has(const std::string& text, const std::string& part) {
  CAPTURE(text);
  CHECK(text.find(part) != std::string::npos);
  return text.find(part) != std::string::npos;
}

std::string gzip(const std::string& text) {
  z_stream s{};
  deflateInit2(&s, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(text.size() + 200, '\0');
  s.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  s.avail_in = static_cast<uInt>(text.size());
  s.next_out = reinterpret_cast<Bytef*>(out.data());
  s.avail_out = static_cast<uInt>(out.size());
  deflate(&s, Z_FINISH);
  out.resize(s.total_out);
  deflateEnd(&s);
  return out;
}

std::string zstd(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

}  // namespace

TEST_CASE_FIXTURE(Fixture, "columns of the usual data sets are found") {
  const auto p = load(R"({"prompt": "What is 1 + 1?", "answer": "2", "id": "add-0", "task": "add", "level": 1}
{"question": "Q", "answer": "6*7 = <<6*7=42>>42\n#### 42 "}
{"problem": "P", "solution": "so \\boxed{\\frac{1}{2}}"}

{"data_source": "gsm8k", "prompt": [{"role": "user", "content": "V"}], "reward_model": {"style": "rule", "ground_truth": "7"}, "answer": "not this"}
{"prompt": "C", "answer": null, "numbers": [1, 2.50], "target": 3}
{"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}], "id": 17}
)");
  REQUIRE(p.size() == 6);
  CHECK(p[0].id == "add-0");
  CHECK(p[0].task == "add");
  CHECK(p[0].reference == "2");
  CHECK(p[0].text == "[u:What is 1 + 1?]a:");
  CHECK(tokenizer->decode(p[0].tokens) == p[0].text);
  CHECK(p[0].columns.at("level") == "1");
  CHECK(p[0].columns.at("answer") == "\"2\"");
  CHECK(p[1].id == "2");
  CHECK(p[1].task.empty());
  CHECK(p[1].reference == "42");
  CHECK(p[2].reference == "so \\boxed{\\frac{1}{2}}");
  CHECK(p[3].reference == "7");
  CHECK(p[4].reference.empty());
  CHECK(p[4].columns.at("numbers") == "[1,2.5]");
  CHECK(p[5].id == "17");
  CHECK(p[5].messages.size() == 2);
  CHECK(p[5].messages[1].content == "ab");
}

TEST_CASE_FIXTURE(Fixture, "columns by name, constants, suffix, system prompt, variables, tools") {
  options.prompt_column = "ask";
  options.answer_column = "meta.gold";
  options.id_column = "key";
  options.task_column = "kind";
  options.prompt_suffix = "\nShow work.";
  options.system_prompt = "Be brief.";
  options.template_variables = R"({"style": "!"})";
  const auto p =
      load(R"({"ask": "Q", "meta": {"gold": 3}, "key": "k", "kind": "math", "tools": [{"a": 1}, {}], "answer": "x"})");
  CHECK(p[0].text == "[s:Be brief.]u:Q\nShow work.]T2!a:");
  CHECK(p[0].reference == "3");
  CHECK(p[0].id == "k");
  CHECK(p[0].task == "math");
  options = {};
  options.task = "code";
  CHECK(load(R"({"prompt": "Q"})")[0].task == "code");
}

TEST_CASE_FIXTURE(Fixture, "templates other than the model's") {
  options.prompt_template = "r1_zero";
  auto p = load(R"({"question": "Is {question} a mark?", "answer": "1"})");
  CHECK(has(p[0].text, "User: Is {question} a mark?. Assistant:"));
  CHECK(p[0].tokens[0] == '^');  // plain text gets the tokenizer's own BOS
  options.prompt_template = "none";
  CHECK(load(R"({"question": "Q"})")[0].text == "Q");
  options.prompt_template = "file";
  options.template_file = write("t.txt", "<{question}|{question}>");
  CHECK(load(R"({"question": "Q"})")[0].text == "<Q|Q>");
  options.template_file = write("t.jinja", "{{ messages[0].content }}!");
  p = load(R"({"question": "Q"})");
  CHECK(p[0].text == "Q!");
  CHECK(p[0].tokens[0] == 'Q');
}

TEST_CASE_FIXTURE(Fixture, "a prompt from a question or a conversation") {
  const r1::PromptMaker maker({}, tokenizer);
  CHECK(maker.make_prompt(std::string("Hi")).text == "[u:Hi]a:");
  CHECK(maker.make_prompt(std::vector<r1::Message>{{"user", "a"}, {"assistant", "b"}, {"user", "c"}}).text ==
        "[u:a]a:b]u:c]a:");
}

TEST_CASE_FIXTURE(Fixture, "archives, arrays, several files, limits") {
  const std::string rows = "{\"prompt\": \"a\"}\n{\"prompt\": \"b\"}\n";
  CHECK(load(gzip(rows), "d.jsonl.gz").size() == 2);
  CHECK(load(gzip(rows) + gzip("{\"prompt\": \"c\"}"), "e.jsonl.gz").size() == 3);
  CHECK(load(zstd(rows), "d.jsonl.zst").size() == 2);
  CHECK(load("\xEF\xBB\xBF [\n{\"prompt\": \"a\"}, {\"prompt\": \"b\"}]", "d.json").size() == 2);
  CHECK(load("{\"prompt\": \"a\"}\r\n{\"prompt\": \"b\"}").size() == 2);
  write("x1.jsonl", rows);
  write("x2.jsonl", "{\"prompt\": \"c\", \"id\": \"c\"}");
  options.paths = {(dir / "x*.jsonl").string()};
  auto set = r1::load_prompts(options, tokenizer);
  REQUIRE(set.prompts.size() == 3);
  CHECK(set.prompts[2].text == "[u:c]a:");
  options.limit = 2;
  CHECK(r1::load_prompts(options, tokenizer).prompts.size() == 2);
}

TEST_CASE_FIXTURE(Fixture, "bad data is named: file, line, column, value, remedy") {
  CHECK(has(error("{\"prompt\": \"a\"}\n{\"prompt\": \n"), "d.jsonl:2: bad JSON"));
  CHECK(has(error("{\"prompt\": \"\xFF\"}"), "d.jsonl:1: bad JSON"));
  CHECK(has(error("[{\"prompt\": \"a\"},\n{]"), "d.jsonl:2: bad JSON"));
  CHECK(has(error("[1]"), "d.jsonl:1: a row must be a JSON object"));
  CHECK(has(error("{\"a\": 1, \"b\": 2}"), "no prompt column was found; set data.prompt to one of: a, b"));
  CHECK(has(error("{\"prompt\": 3}"), "must be a text or a list"));
  CHECK(has(error("{\"prompt\": [{\"content\": \"x\"}]}"), "no {role, content}"));
  CHECK(has(error("{\"prompt\": [{\"role\": \"assistant\", \"content\": \"x\"}]}"), "ends with an assistant turn"));
  CHECK(has(error("{\"prompt\": \"a\", \"id\": \"x\"}\n{\"prompt\": \"b\", \"id\": \"x\"}"),
            "d.jsonl:2: the id \"x\" is that of"));
  CHECK(has(error(""), "holds no rows"));
  CHECK(has(error("\n \n"), "holds no rows"));
  CHECK(has(error("[]"), "holds no rows"));
  CHECK(has(error(gzip("{\"prompt\": \"aaaaaaaaaaaaaaaaaaaaaa\"}").substr(0, 25)), "cut off"));
  CHECK(has(error(zstd("{\"prompt\": \"aaaaaaaaaaaaaaaaaaaaaa\"}").substr(0, 25)), "zstd archive is"));
  CHECK(has(error("PAR1...."), "Parquet"));
  options.prompt_column = "ask";
  CHECK(has(error("{\"prompt\": \"a\", \"b\": 1}"),
            "there is no column \"ask\" (data.prompt); the columns are: b, prompt"));
  options = {};
  options.answer_column = "gold";
  CHECK(has(error("{\"prompt\": \"a\"}"), "there is no column \"gold\" (data.answer)"));
  options = {};
  options.max_prompt_tokens = 10;
  CHECK(has(error("{\"prompt\": \"0123456789\", \"id\": \"long\"}"),
            "d.jsonl:1 (id long): the prompt has 16 tokens, data.max_prompt_tokens is 10; raise it"));
  options = {};
  options.paths = {(dir / "missing.jsonl").string()};
  CHECK_THROWS_WITH_AS(r1::load_prompts(options, tokenizer), doctest::Contains("there is no file"), r1::DataError);
  options.paths = {(dir / "*.none").string()};
  CHECK_THROWS_WITH_AS(r1::load_prompts(options, tokenizer), doctest::Contains("no file matches"), r1::DataError);
  options.paths = {dir.path().string()};
  CHECK_THROWS_WITH_AS(r1::load_prompts(options, tokenizer), doctest::Contains("is a directory"), r1::DataError);
  options.paths = {};
  CHECK_THROWS_WITH_AS(r1::load_prompts(options, tokenizer), doctest::Contains("set data.path"), r1::DataError);
}

TEST_CASE_FIXTURE(Fixture, "bad rows are skipped and reported on request") {
  options.skip_bad_rows = true;
  options.max_prompt_tokens = 12;
  options.paths = {write(
      "d.jsonl", "{\"prompt\": \"a\"}\nnot json\n{\"x\": 1}\n{\"prompt\": \"0123456789\"}\n7\n{\"prompt\": \"b\"}\n")};
  const auto set = r1::load_prompts(options, tokenizer);
  CHECK(set.prompts.size() == 2);
  REQUIRE(set.skipped.size() == 4);
  CHECK(has(set.skipped[0], "d.jsonl:2: bad JSON"));
  options.paths = {write("e.jsonl", "{\"x\": 1}\n")};
  CHECK_THROWS_WITH_AS(r1::load_prompts(options, tokenizer),
                       doctest::Contains("no usable row in the data: all 1 were skipped"), r1::DataError);
}

TEST_CASE_FIXTURE(Fixture, "options without effect are refused") {
  const auto refused = [&] {
    try {
      r1::PromptMaker(options, tokenizer);
      return std::string("accepted");
    } catch (const r1::ConfigError& e) {
      return std::string(e.what());
    }
  };
  options.prompt_template = "zero";
  CHECK(has(refused(), "\"zero\" is unknown; use chat, r1_zero, none or file"));
  options.prompt_template = "none";
  options.system_prompt = "S";
  CHECK(has(refused(), "data.system_prompt has no effect with data.template none"));
  options = {};
  options.template_file = "x";
  CHECK(has(refused(), "data.template_file has no effect"));
  options.prompt_template = "file";
  CHECK(has(refused(), "cannot read x"));
  options.template_file = write("t", "no mark");
  CHECK(has(refused(), "holds neither"));
  options = {};
  tokenizer = std::make_shared<ByteTokenizer>("");
  CHECK(has(refused(), "the model has no chat template"));
  tokenizer = std::make_shared<ByteTokenizer>("{{ x");
  CHECK_THROWS_WITH_AS(r1::PromptMaker(options, tokenizer), doctest::Contains("line 1"), r1::DataError);
  options.prompt_template = "none";
  CHECK(has(error(R"({"prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]})"),
            "has room for one question"));
  CHECK(has(error(R"({"prompt": " \n"})"), "the prompt is empty"));
}


