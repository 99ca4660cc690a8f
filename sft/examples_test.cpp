#include "sft/examples.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/files.h"
#include "sft/test_support.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

struct Fixture {
  test::TempDir dir;
  std::shared_ptr<const Tokenizer> tokenizer = test::chat_ml("{% for m in messages %}{{ m.role[0] }}:{{ m.content }}<|im_end|>{% endfor %}"
                                                             "{% if add_generation_prompt %}a:{% endif %}");
  SftRowOptions options;

  SftRows load(const std::string& lines) {
    write_file_atomic(dir / "rows.jsonl", lines);
    options.dataset.paths = {(dir / "rows.jsonl").string()};
    return load_sft_rows(options, tokenizer, {257});
  }
  std::vector<std::string> texts(const std::string& lines) {
    std::vector<std::string> out;
    for (const SftExample& e : load(lines).examples) out.push_back(marked_text(e, *tokenizer, [](const std::string& s) { return "[" + s + "]"; }));
    return out;
  }
  std::string error(const std::string& lines) {
    try {
      load(lines);
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  }
};
using Strings = std::vector<std::string>;

}  // namespace

TEST_CASE_FIXTURE(Fixture, "column forms of TRL, open-r1 and GSM8K") {
  CHECK(texts(R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}], "problem": "x", "solution": "y"})" "\n"
              R"({"prompt": "q", "completion": "r"})" "\n"
              R"({"prompt": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "old"}, {"role": "user", "content": "p"}], )"
              R"("completion": [{"role": "assistant", "content": "r"}]})" "\n"
              R"({"problem": "q", "solution": "r", "answer": "7"})" "\n"
              R"({"question": "q", "answer": "r #### 7"})" "\n") ==
        Strings{"u:q<|im_end|>a:[r<|im_end|>]", "u:q<|im_end|>a:[r<|im_end|>]", "u:q<|im_end|>a:old<|im_end|>u:p<|im_end|>a:[r<|im_end|>]",
                "u:q<|im_end|>a:[r<|im_end|>]", "u:q<|im_end|>a:[r #### 7<|im_end|>]"});
  options.dataset.prompt_column = "q";
  options.completion_column = "r.text";
  CHECK(texts(R"({"messages": [], "q": "one", "r": {"text": "two"}})") == Strings{"u:one<|im_end|>a:[two<|im_end|>]"});
  options = {};
  options.messages_column = "chat";
  CHECK(texts(R"({"chat": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}]})") == Strings{"u:q<|im_end|>a:[r<|im_end|>]"});
  options = {};
  options.dataset.prompt_template = "none";
  CHECK(texts(R"({"prompt": "q", "completion": "r"})" "\n" R"({"text": "all"})") == Strings{"^q[r<|im_end|>]", "^[all<|im_end|>]"});
}

TEST_CASE_FIXTURE(Fixture, "errors name the row") {
  CHECK(error(R"({"prompt": "q", "completion": "r"})" "\n" R"({"prompt": "q"})").find("rows.jsonl:2: no completion column") != std::string::npos);
  CHECK(error(R"({"completion": "r"})").find("no prompt column") != std::string::npos);
  CHECK(error(R"({"prompt": "q", "completion": " "})").find("rows.jsonl:1: the completion is empty") != std::string::npos);
  CHECK(error(R"({"prompt": "q", "completion": 3})").find("rows.jsonl:1") != std::string::npos);
  options.dataset.skip_bad_rows = true;
  const SftRows rows = load(R"({"prompt": "q"})" "\n" R"({"prompt": "q", "completion": "r"})");
  CHECK(rows.examples.size() == 1);
  CHECK(rows.examples[0].name.ends_with("rows.jsonl:2"));
  CHECK(rows.skipped.size() == 1);
  CHECK(error(R"({"prompt": "q"})").find("no usable example") != std::string::npos);
}

TEST_CASE_FIXTURE(Fixture, "max_length: error, skip, truncate") {
  const std::string lines = R"({"prompt": "q", "completion": "rrrrr"})" "\n" R"({"prompt": "q", "completion": "r"})" "\n"
                            R"({"prompt": "qqqqqqqqqqqqqqqq", "completion": "r"})";
  options.max_length = 9;  // u : q <end> a : r r r | r r <end>
  CHECK(error(lines).find("rows.jsonl:1: the example has 12 tokens, data.max_length is 9") != std::string::npos);
  options.overlong = Overlong::kSkip;
  SftRows rows = load(lines);
  CHECK(rows.examples.size() == 1);
  CHECK(rows.too_long == 2);
  options.overlong = Overlong::kTruncate;
  rows = load(lines);
  REQUIRE(rows.examples.size() == 2);
  CHECK(rows.truncated == 1);
  CHECK(rows.too_long == 1);  // nothing trained was left of the third
  CHECK(rows.examples[0].tokens.size() == 9);
  CHECK(trained_tokens(rows.examples[0]) == 3);
  CHECK_THROWS_AS(parse_overlong("cut"), ConfigError);
}

}  // namespace r1
