// cosine and soft_overlong: what TRL and open-r1 users know, without the faults.
#include "rewards/cosine.h"

#include <string>

#include <doctest/doctest.h>

#include "core/error.h"
#include "rewards/factory.h"

namespace r1 {
namespace {

RewardResult score(const std::string& name, const std::string& options, const std::string& text, std::size_t tokens,
                   StopReason stop = StopReason::kEos, const std::string& gold = "42") {
  SampleGroup group;
  group.prompt.reference = gold;
  group.completions.resize(1);
  group.completions[0].text = text;
  group.completions[0].tokens.resize(tokens);
  group.completions[0].stop = stop;
  std::vector<RewardResult> out(1);
  make_reward(name, options)->score(group, out);
  return out[0];
}
std::string error_of(const std::string& name, const std::string& options) {
  try {
    make_reward(name, options);
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "no error";
}
const std::string kRight = "\\boxed{42}", kWrong = "\\boxed{41}";

TEST_CASE("cosine: short right answers earn most, short wrong ones lose most") {
  const std::string o = "{max_len: 100}";
  CHECK(*score("cosine", o, kRight, 0).value == doctest::Approx(1.0));
  CHECK(*score("cosine", o, kRight, 50).value == doctest::Approx(0.75));
  CHECK(*score("cosine", o, kRight, 100).value == doctest::Approx(0.5));
  CHECK(*score("cosine", o, kWrong, 0).value == doctest::Approx(-1.0));
  CHECK(*score("cosine", o, kWrong, 50).value == doctest::Approx(-0.75));
  CHECK(*score("cosine", o, kWrong, 100).value == doctest::Approx(-0.5));
  CHECK(*score("cosine", o, "no number", 0).value == doctest::Approx(-1.0));
  CHECK(score("cosine", o, kRight, 50).verdict == Verdict::kCorrect);
  CHECK(score("cosine", o, kWrong, 50).verdict == Verdict::kWrong);
}

TEST_CASE("cosine is monotone, and flat beyond max_len (open-r1: rises again)") {
  float right = 2, wrong = -2;
  for (std::int64_t n = 0; n <= 300; ++n) {
    const float r = cosine_scaled(n, 100, 1.f, 0.5f), w = cosine_scaled(n, 100, -1.f, -0.5f);
    CHECK(r <= right);
    CHECK(w >= wrong);
    right = r;
    wrong = w;
  }
  CHECK(right == doctest::Approx(0.5));
  CHECK(wrong == doctest::Approx(-0.5));
}

TEST_CASE("cosine counts tokens, never characters (open-r1: characters)") {
  CHECK(score("cosine", "{max_len: 100}", kRight + std::string(5000, ' '), 50).value ==
        score("cosine", "{max_len: 100}", kRight, 50).value);
}

TEST_CASE("cosine: running into the limit is no patience; no readable gold is no answer (open-r1: pays 1)") {
  CHECK(*score("cosine", "{max_len: 100}", kWrong, 100, StopReason::kLength).value == -1.f);
  CHECK(*score("cosine", "{max_len: 100, truncated_wrong: -2}", "thinking", 100, StopReason::kLength).value == -2.f);
  CHECK_FALSE(score("cosine", "{max_len: 100}", kRight, 50, StopReason::kEos, "").value.has_value());
  CHECK_FALSE(make_reward("cosine", "{max_len: 100}")->check_prompt(Prompt{}).empty());
}

TEST_CASE("cosine: options") {
  CHECK(*score("cosine", "{max_len: 10, judge: exact_match}", "dog", 10, StopReason::kEos, "dog").value ==
        doctest::Approx(0.5));
  CHECK(score("cosine", "{max_len: 10, judge: exact_match, judge_options: {ignore_case: false}}", "Dog", 10, StopReason::kEos,
              "dog").verdict == Verdict::kWrong);
  RewardContext context;
  context.max_new_tokens = 100;
  CHECK(make_reward("cosine", "{}", context)->judges_answer());
  CHECK(error_of("cosine", "{}").find("max_len") != std::string::npos);
  CHECK(error_of("cosine", "{max_len: 10, judge: format}").find("judge") != std::string::npos);
  CHECK(error_of("cosine", "{max_len: 10, judge_options: {extracts: boxed}}").find("extracts") != std::string::npos);
  CHECK(error_of("cosine", "{max_length: 10}").find("max_len") != std::string::npos);
  CHECK(error_of("cosine", "{max_len: 10, max_values_wrong: 1}").find("max_values_wrong") != std::string::npos);
  CHECK(error_of("cosine", "{max_len: 10, max_value_wrong: 0.7}").find("max_value_wrong") != std::string::npos);
  CHECK(error_of("cosine", "{max_len: 10, min_value_correct: 2}").find("min_value_correct") != std::string::npos);
  CHECK(error_of("cosine", "{max_len: 10, min_value_wrong: 0}").find("min_value_wrong") != std::string::npos);
}

TEST_CASE("soft_overlong: TRL's names for DAPO's punishment") {
  const std::string o = "{max_completion_len: 100, soft_punish_cache: 20}";
  CHECK(*score("soft_overlong", o, "", 80).value == 0.f);
  CHECK(*score("soft_overlong", o, "", 90).value == -0.5f);
  CHECK(*score("soft_overlong", o, "", 100).value == -1.f);
  CHECK(*score("soft_overlong", o, "", 500).value == -1.f);
  RewardContext context;
  context.max_new_tokens = 100;
  CHECK(make_reward("soft_overlong", "{}", context)->name() == "soft_overlong");
  CHECK(error_of("soft_overlong", "{}").find("max_completion_len") != std::string::npos);
  CHECK(error_of("soft_overlong", "{max_completion_len: 9, soft_punish_cache: 9}").find("smaller") != std::string::npos);
  CHECK(error_of("soft_overlong", "{max_completion_len: 9, max_tokens: 9}").find("max_tokens") != std::string::npos);
}

TEST_CASE("soft_punish_cache: 0 is a step, and open-r1's name means the same") {
  for (const char* name : {"soft_overlong", "soft_overlong_punishment"}) {
    const std::string o = "{max_completion_len: 100, soft_punish_cache: 0}";
    CHECK(make_reward(name, o)->name() == name);
    CHECK(*score(name, o, "", 100).value == 0.f);
    CHECK(*score(name, o, "", 101).value == -1.f);
  }
}

TEST_CASE("repetition_penalty: TRL's names, sign and unit") {
  // TRL's own example: bigrams of 5 5 5 5 5 and of 1 2 3 4.
  SampleGroup g;
  g.completions.resize(2);
  g.completions[0].tokens = {1, 2, 3, 4};
  g.completions[1].tokens = {5, 5, 5, 5, 5};
  const auto of = [&](const std::string& options) {
    std::vector<RewardResult> out(2);
    make_reward("repetition_penalty", options)->score(g, out);
    return std::pair(*out[0].value, *out[1].value);
  };
  CHECK(of("{ngram_size: 2, max_penalty: -1.0}") == std::pair(0.f, -0.75f));
  CHECK(of("{ngram_size: 2, max_penalty: -2.0}") == std::pair(0.f, -1.5f));
  CHECK(of("{}").second == doctest::Approx(-2.0 / 3));
  CHECK(*score("repetition_penalty", "{unit: words}", "a b c a b c a b c", 9).value == doctest::Approx(-4.0 / 7));
  CHECK(error_of("repetition_penalty", "{max_penalty: 1}").find("max_penalty") != std::string::npos);
  CHECK(error_of("repetition_penalty", "{ngram: 2}").find("ngram_size") != std::string::npos);
}

}  // namespace
}  // namespace r1
