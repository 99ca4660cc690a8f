#include "preference/preference_rows.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>

#include "core/error.h"
#include "sft/test_support.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

constexpr TokenId kStop = 257;

constexpr const char* kTagged =
    "{% for m in messages %}{{ m['role'][0] }}:{{ m['content'] }}<stop>{% endfor %}{% if add_generation_prompt %}a:{% endif %}";

struct Rows {
  PreferenceRows load(const std::string& lines, bool pairs = true, std::int64_t max_length = 0, bool skip = false) {
    std::ofstream(dir / "rows.jsonl") << lines;
    PreferenceRowOptions o;
    o.pairs = pairs;
    o.sft.dataset.paths = {(dir / "rows.jsonl").string()};
    o.sft.dataset.skip_bad_rows = skip;
    o.sft.max_length = max_length;
    o.sft.overlong = skip ? Overlong::kSkip : Overlong::kError;
    return load_preference_rows(o, tokenizer, {kStop});
  }
  std::string text(const TrainSample& s) const { return tokenizer->decode(s.tokens, false); }
  std::string judged(const TrainSample& s) const {
    std::vector<TokenId> ids;
    for (std::size_t t = 0; t < s.tokens.size(); ++t)
      if (s.loss_mask[t]) ids.push_back(s.tokens[t]);
    return tokenizer->decode(ids, false);
  }
  test::TempDir dir;
  std::shared_ptr<const Tokenizer> tokenizer =
      std::make_shared<test::SpecialBytes>(kTagged, std::vector<std::string>{"<pad>", "<stop>"}, "<stop>");
};

}  // namespace

TEST_CASE("pairs: the three forms give the same tokens; answers end with the stop token and share the prompt") {
  Rows rows;
  const PreferenceRows got = rows.load(
      R"({"prompt":"Q","chosen":"yes","rejected":"no"})"
      "\n"
      R"({"messages":[{"role":"user","content":"Q"}],"chosen":"yes","rejected":"no"})"
      "\n"
      R"({"prompt":[{"role":"user","content":"Q"}],"chosen":[{"role":"assistant","content":"yes"}],"rejected":[{"role":"assistant","content":"no"}]})"
      "\n"
      R"({"chosen":[{"role":"user","content":"Q"},{"role":"assistant","content":"yes"}],"rejected":[{"role":"user","content":"Q"},{"role":"assistant","content":"no"}]})"
      "\n");
  REQUIRE(got.set.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) {
    CAPTURE(i);
    const TrainSample &chosen = got.set.samples[2 * i], &rejected = got.set.samples[2 * i + 1];
    CHECK(rows.text(chosen) == "u:Q<stop>a:yes<stop>");
    CHECK(rows.judged(chosen) == "yes<stop>");
    CHECK(rows.judged(rejected) == "no<stop>");
    CHECK(chosen.prompt_length == 6);
    CHECK(rejected.prompt_length == 6);
    CHECK(chosen.group == i);
    CHECK(rejected.group == i);
    CHECK(chosen.name.ends_with("rows.jsonl:" + std::to_string(i + 1)));
  }
}

TEST_CASE("labelled answers: response or the last message, labels true, false or a share") {
  Rows rows;
  const PreferenceRows got = rows.load(
      R"({"prompt":"Q","response":"fine","label":true})" "\n"
      R"({"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"bad"}],"label":0})" "\n"
      R"({"prompt":"Q","completion":"so","label":0.25})" "\n", false);
  CHECK(got.set.labels == std::vector<double>{1, 0, 0.25});
  CHECK(got.set.size() == 3);
  CHECK(rows.judged(got.set.samples[1]) == "bad<stop>");
  CHECK(got.set.samples[2].group == 2);
}

TEST_CASE("bad preference rows name file, line and remedy, or are left out; too long answers take their pair along") {
  Rows rows;
  const auto why = [&](const std::string& line, bool pairs = true, std::int64_t max_length = 0) -> std::string {
    try {
      rows.load(line + "\n", pairs, max_length);
    } catch (const DataError& e) {
      return e.what();
    }
    return "accepted";
  };
  CHECK(why(R"({"prompt":"Q","chosen":"a"})").find("rows.jsonl:1: there is no column \"rejected\"; set data.rejected") != std::string::npos);
  CHECK(why(R"({"prompt":"Q","chosen":"a","rejected":"a"})").find("the same answer") != std::string::npos);
  CHECK(why(R"({"chosen":"a","rejected":"b"})").find("conversations that begin alike") != std::string::npos);
  CHECK(why(R"({"prompt":"Q","response":"a","label":2})", false).find("the label is 2; it can be true, false, or a number from 0 to 1") !=
        std::string::npos);
  CHECK(why(R"({"prompt":"Q","label":1})", false).find("set data.response") != std::string::npos);
  CHECK(why(R"({"prompt":"Q","chosen":"long enough","rejected":"b"})", true, 12).find("data.max_length is 12") != std::string::npos);
  const PreferenceRows some = rows.load(R"({"prompt":"Q","chosen":"long enough","rejected":"b"})"
                                        "\n"
                                        R"({"prompt":"Q","chosen":"a"})"
                                        "\n"
                                        R"({"prompt":"Q","chosen":"a","rejected":"b"})"
                                        "\n",
                                        true, 12, true);
  CHECK(some.set.size() == 1);
  CHECK(some.too_long == 1);
  CHECK(some.skipped.size() == 1);
  CHECK(some.set.samples[1].group == 0);
}

}  // namespace r1
