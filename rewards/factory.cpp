#include "rewards/factory.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "core/suggest.h"
#include "rewards/choice.h"
#include "rewards/code/code_reward.h"
#include "rewards/cosine.h"
#include "rewards/countdown.h"
#include "rewards/exact_match.h"
#include "rewards/format.h"
#include "rewards/instructions/instructions_reward.h"
#include "rewards/judge/judge.h"
#include "rewards/language/language_reward.h"
#include "rewards/length.h"
#include "rewards/math/math_reward.h"
#include "rewards/repetition.h"

namespace r1 {
namespace {

template <std::unique_ptr<RewardFunction> (*kMake)(ConfigReader&)>
std::unique_ptr<RewardFunction> plain(ConfigReader& options, const RewardContext&) {
  return kMake(options);
}

constexpr bool kAlone = true;  // looks at nothing but the prompt and this completion

constexpr auto kKinds = std::to_array<RewardKind>({
    {"math", "final answer equals the gold answer: numbers, expressions, sets, intervals, equations, texts", plain<make_math_reward>, kAlone},
    {"code", "the program passes the row's tests, each in a sandbox", plain<make_code_reward>, kAlone},
    {"format", "one <think> block, then one answer", plain<make_format_reward>, kAlone},
    {"countdown", "an expression that uses each given number once and equals the target", plain<make_countdown_reward>, kAlone},
    {"exact_match", "the answer text equals the gold text", plain<make_exact_match_reward>, kAlone},
    {"regex", "the completion matches a pattern", plain<make_regex_reward>, kAlone},
    {"choice", "the letter of the gold choice", plain<make_choice_reward>, kAlone},
    {"instructions", "the row's checkable instructions are followed (IFEval): keywords, length, form, case, language", plain<make_instructions_reward>, kAlone},
    {"words_below", "fewer words than a limit", plain<make_words_below_reward>, kAlone},
    {"overlong", "DAPO's soft punishment near the token limit, 0 to -1",
     [](ConfigReader& o, const RewardContext& c) { return make_overlong_reward(o, c.max_new_tokens); }, kAlone},
    {"soft_overlong", "overlong under TRL's option names",
     [](ConfigReader& o, const RewardContext& c) { return make_soft_overlong_reward("soft_overlong", o, c.max_new_tokens); }, kAlone},
    {"soft_overlong_punishment", "the same, by open-r1's name",
     [](ConfigReader& o, const RewardContext& c) { return make_soft_overlong_reward("soft_overlong_punishment", o, c.max_new_tokens); }, kAlone},
    {"cosine", "right answers earn more if short, wrong ones lose less if long",
     [](ConfigReader& o, const RewardContext& c) { return make_cosine_reward(o, c.max_new_tokens); }},
    {"length", "1 inside a range of tokens, words or characters; mode relative: shorter than the group's others",
     [](ConfigReader& o, const RewardContext& c) { return make_length_reward(o, c.max_new_tokens); }},
    {"repetition", "minus the share of repeated n-grams", plain<make_repetition_reward>, kAlone},
    {"repetition_penalty", "repetition under TRL's option names", plain<make_repetition_penalty_reward>, kAlone},
    {"tag_count", "a quarter for each think and answer tag in its place", plain<make_tag_count_reward>, kAlone},
    {"judge", "a language model's verdict of the answer, the format, or by a rubric",
     [](ConfigReader& o, const RewardContext& c) { return make_llm_judge(o, c.chat_client); }},
    {"language", "share of the target language's words in the chain of thought", plain<make_language_reward>, kAlone},
});

}  // namespace

std::span<const RewardKind> reward_kinds() { return kKinds; }

std::unique_ptr<RewardFunction> make_reward(const std::string& name, ConfigReader& options,
                                            const RewardContext& context) {
  if (const auto linked = context.linked.find(name); linked != context.linked.end()) return linked->second(options);
  const auto kind = std::find_if(kKinds.begin(), kKinds.end(), [&](const RewardKind& k) { return k.name == name; });
  if (kind == kKinds.end()) {
    std::vector<std::string> names;
    for (const auto& [own, maker] : context.linked) names.push_back(own);
    for (const RewardKind& k : kKinds) names.emplace_back(k.name);
    const std::string near = nearest_name(name, names);
    options.fail("name",
                 message("there is no reward '", name, "'", near.empty() ? "" : message("; did you mean '", near, "'?"),
                         " Known rewards: ", join_names(names)));
  }
  return kind->make(options, context);
}

std::unique_ptr<RewardFunction> make_reward(const std::string& name, const std::string& options_yaml,
                                            const RewardContext& context) {
  ConfigReader options(Config::parse(options_yaml, "reward " + name));
  auto reward = make_reward(name, options, context);
  options.finish();
  return reward;
}

std::unique_ptr<RewardFunction> make_judge(ConfigReader& options, const RewardContext& context) {
  ConfigReader judge_options = options.section("judge_options");
  auto judge = make_reward(options.get<std::string>("judge", "math"), judge_options, context);
  if (!judge->judges_answer())
    options.fail("judge", message("'", judge->name(), "' does not judge answers; try math or exact_match"));
  return judge;
}

Rubric make_rubric(std::vector<ConfigReader> entries, const RewardContext& context) {
  std::vector<Rubric::Entry> made;
  bool paid = false;
  for (ConfigReader& o : entries) {
    Rubric::Entry entry;
    const bool url = o.has("name") && o.get<std::string>("name", "").starts_with("grpc://");
    for (const char* key : {"python", "command", "plugin", "grpc", "model"}) {
      const bool named = url && key == std::string_view("grpc");
      if (!o.has(key) && !named) continue;
      if (key == std::string_view("model") && o.has("name")) continue;  // an option of that reward: a judge's
      const auto maker = context.external.find(key);
      if (maker == context.external.end()) o.fail(named ? "name" : key, message("this program has no ", key, " rewards built in"));
      if (entry.reward || (url && !named) || (named && o.has(key))) o.fail(key, "an entry names one reward only");
      entry.reward = maker->second(o);
    }
    if (entry.reward && !url) o.reject("name", "use `as: NAME` to label a reward that is not built in");
    if (!entry.reward) {
      const std::string name = o.require<std::string>("name");
      entry.reward = make_reward(name, o, context);
      const auto kind = std::find_if(kKinds.begin(), kKinds.end(), [&](const RewardKind& k) { return k.name == name; });
      entry.alone = kind != kKinds.end() && kind->alone && !context.linked.contains(name);
    }
    entry.label = o.get<std::string>("as", std::string(entry.reward->name()));
    entry.weight = o.get_in<float>("weight", 1.f, -1e6f, 1e6f);
    entry.verdict = o.get<bool>("verdict", false);
    entry.tasks = o.get<std::vector<std::string>>("tasks", {});
    paid = paid || entry.weight != 0.f;
    made.push_back(std::move(entry));
  }
  if (!made.empty() && !paid)
    throw ConfigError("rewards: every weight is 0, so nothing would be rewarded; give one reward a weight");
  return Rubric(std::move(made));
}

}  // namespace r1
