#include "rewards/language/language_reward.h"

#include <string>

#include <doctest/doctest.h>

#include "core/error.h"
#include "rewards/factory.h"
#include "rewards/language/detector.h"

namespace r1 {
namespace {

constexpr const char* kGerman = "Zuerst addieren wir die beiden Zahlen und prüfen dann das Ergebnis noch einmal.";
constexpr const char* kEnglish = "First we add the two numbers and then we check the result once again.";

RewardResult score(const std::string& options, const std::string& text, Prompt prompt = {}) {
  SampleGroup group;
  group.prompt = std::move(prompt);
  group.completions.resize(1);
  group.completions[0].text = text;
  group.completions[0].stop = StopReason::kEos;
  std::vector<RewardResult> out(1);
  make_reward("language", options)->score(group, out);
  return out[0];
}
std::string error_of(const std::string& options) {
  try {
    make_reward("language", options);
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "no error";
}

TEST_CASE("the think block is read, the answer by option") {
  const std::string text = std::string("<think>") + kGerman + "</think>" + kEnglish;
  CHECK(score("{language: de}", text).value == 1.f);
  CHECK(score("{language: de, region: answer}", text).value == 0.f);
  CHECK(score("{language: en, region: answer}", text).value == 1.f);
  const float both = *score("{language: de, region: all, allowance: 0}", text).value;
  CHECK(both > 0.3f);
  CHECK(both < 0.7f);
  Prompt opened;
  opened.text = "question <think>\n";
  CHECK(score("{language: de}", std::string(kGerman) + "</think>" + kEnglish, opened).value == 1.f);
  CHECK(score("{language: de}", std::string("<think>") + kGerman).value == 1.f);  // cut off while thinking
  CHECK(score("{language: de}", kGerman).value == 1.f);                          // no block: all of it is the chain
}

TEST_CASE("columns") {
  const RewardResult r = score("{language: de, allowance: 0}", std::string(kGerman) + " Сначала мы складываем");
  CHECK(r.columns.at("target_words") == "13");
  CHECK(r.columns.at("other_words") == "3");
  CHECK(r.columns.at("unsure_words") == "0");
  CHECK(r.columns.at("other_languages") == "Cyrl:3");
  CHECK(r.columns.at("score") == "0.8125");
  CHECK(r.columns.at("language") == "de");
  CHECK(r.columns.at("detector") == detector_name());
  CHECK(r.verdict == Verdict::kAbstain);
  CHECK(r.detail == "ok");
  CHECK(score("{language: de, detector: none}", kEnglish).columns.at("detector").find("none") == 0);
  const RewardResult empty = score("{language: de}", "<think>$x=1$</think>1");
  CHECK(empty.value == 0.f);
  CHECK(empty.detail == "too_few_words");
}

TEST_CASE("the language to expect: option, column, question") {
  Prompt prompt;
  prompt.messages = {{"system", "You are a helpful assistant and you answer every question."}, {"user", kGerman}};
  CHECK(score("{}", kGerman, prompt).value == 1.f);
  CHECK(score("{}", kEnglish, prompt).value == 0.f);
  prompt.columns["language"] = "\"en\"";
  CHECK(score("{}", kEnglish, prompt).value == 1.f);
  prompt.columns["tongue"] = "German";
  CHECK(score("{column: tongue}", kGerman, prompt).value == 1.f);
  CHECK(make_reward("language")->check_prompt(prompt).empty());
  prompt.columns["language"] = "\"klingon\"";
  CHECK(make_reward("language")->check_prompt(prompt).find("klingon") != std::string::npos);
  CHECK_FALSE(score("{}", kEnglish, prompt).value.has_value());  // abstains
  CHECK(make_reward("language")->check_prompt(Prompt{}).find("cannot be told") != std::string::npos);
}

TEST_CASE("bad options name themselves") {
  CHECK(error_of("{language: klingon}").find("klingon") != std::string::npos);
  CHECK(error_of("{langauge: de}").find("langauge") != std::string::npos);
  CHECK(error_of("{language: de, column: x}").find("no effect") != std::string::npos);
  CHECK(error_of("{allowance: 2}").find("allowance") != std::string::npos);
  CHECK(error_of("{min_words: 0}").find("min_words") != std::string::npos);
  CHECK(error_of("{region: cot}").find("region") != std::string::npos);
  CHECK(error_of("{detector: fasttext}").find("detector") != std::string::npos);
}

TEST_CASE("known answers come out right") {
  const auto reward = make_reward("language", "{language: de}");
  for (const KnownAnswer& known : reward->known_answers(Prompt{})) {
    SampleGroup group;
    group.completions = {known.completion};
    std::vector<RewardResult> out(1);
    reward->score(group, out);
    CHECK(out[0].value == known.value);
  }
}

}  // namespace
}  // namespace r1
