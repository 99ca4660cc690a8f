#include "rewards/rubric.h"

#include <atomic>
#include <cmath>
#include <string>
#include <thread>

#include <doctest/doctest.h>

#include "core/error.h"
#include "rewards/factory.h"
#include "tests/support/errors.h"

namespace r1 {
namespace {

// Gives a fixed result for each completion.
class Fixed : public RewardFunction {
 public:
  Fixed(std::string name, std::optional<float> value, Verdict verdict = Verdict::kAbstain, bool judges = false)
      : name_(std::move(name)), value_(value), verdict_(verdict), judges_(judges) {}
  std::string_view name() const override { return name_; }
  bool judges_answer() const override { return judges_; }
  void score(const SampleGroup&, std::span<RewardResult> out) const override {
    for (RewardResult& r : out)
      r = {value_, verdict_, "detail of " + name_, {{"answer_parsed", "by " + name_}, {name_ + "_only", "x"}}};
  }
  std::string check_prompt(const Prompt& p) const override {
    return p.reference.empty() ? name_ + " needs a gold" : "";
  }

 private:
  std::string name_;
  std::optional<float> value_;
  Verdict verdict_;
  bool judges_;
};

// Pays 1 and judges steps.
class Stepwise : public RewardFunction {
 public:
  explicit Stepwise(std::vector<StepReward> steps, std::optional<float> value = 1.f) : steps_(std::move(steps)), value_(value) {}
  std::string_view name() const override { return "stepwise"; }
  void score(const SampleGroup&, std::span<RewardResult> out) const override {
    for (RewardResult& r : out) r.value = value_, r.steps = steps_;
  }

 private:
  std::vector<StepReward> steps_;
  std::optional<float> value_;
};

class Throwing : public RewardFunction {
 public:
  std::string_view name() const override { return "broken"; }
  void score(const SampleGroup&, std::span<RewardResult>) const override { throw Error("lost connection"); }
};

Rubric::Entry entry(std::unique_ptr<RewardFunction> reward, float weight = 1, bool verdict = false,
                    std::vector<std::string> tasks = {}) {
  return {std::move(reward), "", weight, verdict, std::move(tasks)};
}
template <class... E>
Rubric rubric(E... e) {
  std::vector<Rubric::Entry> entries;
  (entries.push_back(std::move(e)), ...);
  return Rubric(std::move(entries));
}
SampleGroup group(std::size_t n = 2, std::string task = "") {
  SampleGroup g;
  g.prompt.id = "row-3";
  g.prompt.task = std::move(task);
  g.prompt.reference = "5";
  g.completions.resize(n);
  for (Completion& c : g.completions) c.stop = StopReason::kEos;
  return g;
}
using test::error_of;

TEST_CASE("step rewards: weighted, of every reward that gives a value; a bad one names reward, prompt and sample") {
  const auto both = rubric(entry(std::make_unique<Stepwise>(std::vector<StepReward>{{0, 1.f}, {3, -2.f}}), 0.5f),
                           entry(std::make_unique<Fixed>("plain", 1.f)));
  const Score s = both.score(group())[1];
  REQUIRE(s.steps.size() == 2);
  CHECK(s.steps[0].token == 0);
  CHECK(s.steps[0].value == 0.5f);
  CHECK(s.steps[1].token == 3);
  CHECK(s.steps[1].value == -1.f);
  CHECK(s.value == 1.5f);  // outcome kinds see the values alone
  CHECK(rubric(entry(std::make_unique<Stepwise>(std::vector<StepReward>{{0, 1.f}}, std::nullopt))).score(group())[0].steps.empty());
  for (const StepReward bad : {StepReward{0, INFINITY}, StepReward{-1, 1.f}}) {
    const auto broken = rubric(entry(std::make_unique<Stepwise>(std::vector<StepReward>{bad})));
    CHECK_THROWS_WITH_AS(broken.score(group()), doctest::Contains("stepwise"), NumericError);
    CHECK_THROWS_WITH_AS(broken.score(group()), doctest::Contains("prompt row-3, sample 0"), NumericError);
  }
}

TEST_CASE("the value is the weighted sum of rewards that did not abstain") {
  const Rubric r =
      rubric(entry(std::make_unique<Fixed>("a", 1.f), 2.f), entry(std::make_unique<Fixed>("b", std::nullopt), 5.f),
             entry(std::make_unique<Fixed>("c", -0.5f), 0.5f), entry(std::make_unique<Fixed>("d", 3.f), 0.f));
  const auto scores = r.score(group());
  REQUIRE(scores.size() == 2);
  CHECK(scores[0].value == 1.75f);
  CHECK(scores[0].parts == std::map<std::string, float>{{"a", 1.f}, {"c", -0.5f}, {"d", 3.f}});
  CHECK(scores[0].verdict == Verdict::kAbstain);
  const auto none = rubric(entry(std::make_unique<Fixed>("b", std::nullopt))).score(group(1));
  CHECK(none[0].value == 0.f);
  CHECK(none[0].parts.empty());
}

TEST_CASE("the verdict comes from the marked reward, else from the first that judges answers") {
  const auto verdict = [](bool mark_b, bool mark_c) {
    const Rubric r = rubric(entry(std::make_unique<Fixed>("a", 1.f, Verdict::kUnparsed, false)),
                            entry(std::make_unique<Fixed>("b", 1.f, Verdict::kCorrect, true), 1, mark_b),
                            entry(std::make_unique<Fixed>("c", 1.f, Verdict::kWrong, true), 1, mark_c));
    return r.score(group(1))[0];
  };
  CHECK(verdict(false, false).verdict == Verdict::kCorrect);
  CHECK(verdict(false, false).detail == "detail of b");
  CHECK(verdict(true, false).verdict == Verdict::kCorrect);
  CHECK(verdict(false, true).verdict == Verdict::kWrong);
  // Columns: the deciding reward keeps its names, others give way.
  const Score s = verdict(false, true);
  CHECK(s.columns.at("answer_parsed") == "by c");
  CHECK(s.columns.at("a/answer_parsed") == "by a");
  CHECK(s.columns.at("b/answer_parsed") == "by b");
  CHECK(s.columns.at("a_only") == "x");
  CHECK(s.columns.at("b/verdict") == "ok");
  CHECK(s.columns.at("c/verdict") == "wrong");
  CHECK(s.columns.at("a/detail") == "detail of a");
  CHECK_FALSE(s.columns.contains("c/detail"));
}

TEST_CASE("rewards apply to their tasks") {
  const Rubric r = rubric(entry(std::make_unique<Fixed>("a", 1.f, Verdict::kCorrect, true), 1, false, {"math"}),
                          entry(std::make_unique<Fixed>("b", 2.f, Verdict::kWrong, true), 1, false, {"code", "chat"}));
  CHECK(r.score(group(1, "math"))[0].value == 1.f);
  CHECK(r.score(group(1, "math"))[0].verdict == Verdict::kCorrect);
  CHECK(r.score(group(1, "chat"))[0].value == 2.f);
  CHECK(r.score(group(1, "chat"))[0].verdict == Verdict::kWrong);
  const std::vector<Prompt> prompts = {group(1, "math").prompt, group(1, "logic").prompt};
  const PromptCheck check = r.check_prompts(prompts);
  REQUIRE(check.problems.size() == 1);
  CHECK(check.problems[0].index == 1);
  CHECK(check.problems[0].text.find("'logic'") != std::string::npos);
}

TEST_CASE("a number that is none ends the run and names its origin") {
  for (const float bad : {std::nanf(""), INFINITY}) {
    const Rubric r = rubric(entry(std::make_unique<Fixed>("odd", bad)));
    try {
      r.score(group(3));
      FAIL("no error");
    } catch (const NumericError& e) {
      const std::string text = e.what();
      CHECK(text.find("odd") != std::string::npos);
      CHECK(text.find("row-3") != std::string::npos);
      CHECK(text.find("sample 0") != std::string::npos);
    }
  }
  const Rubric broken = rubric(entry(std::make_unique<Throwing>()));
  CHECK(error_of([&] { broken.score(group()); }) == "reward broken, prompt row-3: lost connection");
}

TEST_CASE("prompts are checked before a run: the first few problems and the count") {
  std::vector<Prompt> prompts(10, group().prompt);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    prompts[i].id = "row-" + std::to_string(i);
    if (i % 2 == 1) prompts[i].reference.clear();
  }
  const Rubric r = rubric(entry(std::make_unique<Fixed>("a", 1.f)));
  const PromptCheck check = r.check_prompts(prompts);
  CHECK(check.problems.size() == 5);
  CHECK(check.summary(2) ==
        "5 of 10 prompts cannot be scored: row-1: a: a needs a gold; row-3: a: a needs a gold; and 3 more");
  CHECK(PromptCheck{}.summary().empty());
}

TEST_CASE("rubrics that make no sense are refused") {
  CHECK(error_of([] { Rubric({}); }).find("empty") != std::string::npos);
  CHECK(error_of([] {
          rubric(entry(std::make_unique<Fixed>("a", 1.f)), entry(std::make_unique<Fixed>("a", 1.f)));
        }).find("as: NAME") != std::string::npos);
  CHECK(error_of([] { rubric(entry(std::make_unique<Fixed>("a", 1.f), NAN)); }).find("finite") != std::string::npos);
}

Rubric from_recipe(const std::string& yaml, const RewardContext& context = {}) {
  ConfigReader root(Config::parse(yaml, "r.yaml"));
  Rubric made = make_rubric(root.sections("rewards", "name"), context);
  root.finish();
  return made;
}

TEST_CASE("a recipe's rewards section") {
  const Rubric r = from_recipe(
      "rewards:\n  - {name: math, weight: 1.0, require_end: true, verdict: true}\n  - {name: format, weight: 0.2, "
      "tasks: [math]}\n"
      "  - {name: math, as: lenient, weight: 0, extract: last_number}\n  - repetition\n");
  REQUIRE(r.entries().size() == 4);
  CHECK(r.entries()[1].weight == 0.2f);
  CHECK(r.entries()[1].tasks == std::vector<std::string>{"math"});
  CHECK(r.entries()[2].label == "lenient");
  CHECK(r.entries()[3].label == "repetition");
  CHECK(r.entries()[0].verdict);
  CHECK(error_of([] { from_recipe("rewards:\n  - {name: maths}\n"); }).find("did you mean 'math'?") !=
        std::string::npos);
  CHECK(error_of([] { from_recipe("rewards:\n  - {name: maths}\n"); }).find("countdown") != std::string::npos);
  CHECK(error_of([] { from_recipe("rewards:\n  - {name: maths}\n"); }).find("r.yaml:2") != std::string::npos);
  CHECK(error_of([] { from_recipe("rewards:\n  - {name: math, wieght: 2}\n"); }).find("weight") != std::string::npos);
  CHECK(error_of([] { from_recipe("rewards:\n  - {name: math, weight: 0}\n"); }).find("every weight is 0") !=
        std::string::npos);
  CHECK(error_of([] { from_recipe("rewards:\n  - {weight: 1}\n"); }).find("name") != std::string::npos);
  CHECK(error_of([] { from_recipe("rewards: []\n"); }).find("empty") != std::string::npos);
  CHECK(error_of([] { from_recipe("rewards:\n  - {python: my.py:f}\n"); }).find("no python rewards") !=
        std::string::npos);
  RewardContext context;
  context.external["python"] = [](ConfigReader& o) {
    return std::make_unique<Fixed>(o.require<std::string>("python"), 1.f);
  };
  CHECK(from_recipe("rewards:\n  - {python: my.py:f, as: mine, weight: 0.5}\n", context).entries()[0].label == "mine");
  context.max_new_tokens = 100;
  CHECK(from_recipe("rewards:\n  - overlong\n  - math\n", context).entries().size() == 2);
  CHECK(error_of([] { from_recipe("rewards:\n  - overlong\n"); }).find("max_tokens") != std::string::npos);
}

TEST_CASE("every built-in reward passes its own known answers") {
  RewardContext context;
  context.max_new_tokens = 64;
  std::size_t tested = 0;
  for (const std::string prefill : {"", "<think>\n"}) {
    for (const std::string& options :
         {std::string("{name: math}"), std::string("{name: math, extract: tag}"),
          std::string("{name: math, extract: hash}"),
          std::string("{name: math, extract: last_number, correct: 2, wrong: -1}"),
          std::string("{name: math, extract: whole}"), std::string("{name: math, extract: phrase, require_end: true}"),
          std::string("{name: format}"), std::string("{name: format, answer_tag: false, partial: true}"),
          std::string("{name: countdown}"), std::string("{name: exact_match}"), std::string("{name: overlong}"),
          std::string("{name: repetition}")}) {
      const Rubric r = from_recipe("rewards:\n  - " + options + "\n", context);
      SampleGroup g = group();
      g.prompt.text = "Question " + prefill;
      g.prompt.columns = {{"numbers", "[4, 24, 18]"}, {"target", "46"}, {"solution", "\"24 + 18 + 4\""}};
      for (const std::string gold : {"5", "-1/2", "12.5", "Evelyn Jones"}) {
        g.prompt.reference = gold;
        if (gold == "Evelyn Jones" && options.find("last_number") != std::string::npos) continue;
        const auto failures = r.self_test(g.prompt);
        for (const std::string& f : failures) MESSAGE(f);
        CHECK(failures.empty());
        tested += r.count_known_answers(g.prompt);
      }
    }
  }
  CHECK(tested > 200);
}

TEST_CASE("a self-test fails for a reward that pays the wrong answer") {
  const Rubric r = from_recipe("rewards:\n  - {name: math, extract: last_number}\n");
  Prompt p = group().prompt;
  p.reference = "Evelyn Jones";  // no number: this reward can never pay it
  CHECK_FALSE(r.self_test(p).empty());
}

TEST_CASE("scoring from several threads gives what one thread gives") {
  const Rubric r = from_recipe(
      "rewards:\n  - math\n  - {name: format, weight: 0.5}\n  - countdown\n  - {name: regex, pattern: '\\d+'}\n");
  SampleGroup g = group(64);
  g.prompt.columns = {{"numbers", "[2, 3]"}, {"target", "5"}};
  for (std::size_t i = 0; i < g.completions.size(); ++i)
    g.completions[i].text = "<think>x</think><answer>2 + 3 = " + std::to_string(i % 8) + "</answer>";
  const auto want = r.score(g);
  std::atomic<int> different = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int round = 0; round < 20; ++round) {
        const auto got = r.score(g);
        for (std::size_t i = 0; i < got.size(); ++i) {
          if (got[i].value != want[i].value || got[i].columns != want[i].columns || got[i].verdict != want[i].verdict)
            ++different;
        }
      }
    });
  }
  for (std::thread& t : threads) t.join();
  CHECK(different == 0);
}

TEST_CASE("which rubrics may score a completion before its group has ended, and that they then say the same") {
  const auto rubric = [](const std::string& yaml, const RewardContext& context = {}) {
    ConfigReader root(Config::parse("rewards: " + yaml, "rubric.yaml"));
    return make_rubric(root.sections("rewards", "name"), context);
  };
  RewardContext context;
  context.max_new_tokens = 8;
  const Rubric alone = rubric("[{name: math}, {name: format, weight: 0.5}, {name: repetition}, {name: tag_count}, {name: overlong}, {name: language}]", context);
  CHECK(alone.scores_alone());
  CHECK_FALSE(rubric("[{name: math}, {name: length, max: 20}]", context).scores_alone());  // may compare lengths within the group
  // A reward of the user's own may look at the whole group, also under one of our names.
  context.linked["math"] = [](ConfigReader& options) { return make_reward("exact_match", options); };
  CHECK_FALSE(rubric("[{name: math}]", context).scores_alone());

  SampleGroup group;
  group.prompt.id = "p";
  group.prompt.reference = "42";
  for (const char* text : {"<think>six times seven</think> \\boxed{42}", "<think>a a a a a a a a</think> \\boxed{41}", "nothing"}) {
    Completion c;
    c.text = text;
    c.tokens.assign(c.text.size() / 4, 1);
    c.stop = StopReason::kEos;
    group.completions.push_back(c);
  }
  const std::vector<Score> whole = alone.score(group);
  CHECK(whole[0].value != whole[1].value);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    const std::vector<Score> one = alone.score(SampleGroup{group.prompt, {group.completions[i]}});
    REQUIRE(one.size() == 1);
    CHECK(one[0].value == whole[i].value);
    CHECK(one[0].parts == whole[i].parts);
    CHECK(one[0].verdict == whole[i].verdict);
    CHECK(one[0].detail == whole[i].detail);
    CHECK(one[0].columns == whole[i].columns);
  }
}

}  // namespace
}  // namespace r1
