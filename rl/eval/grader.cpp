#include "rl/eval/grader.h"

#include "core/error.h"
#include "rewards/completion_text.h"
#include "rl/eval/code_rows.h"

namespace r1 {
namespace {

AnswerSource source_of(const std::string& name) {
  using enum AnswerSource;
  for (const auto& [known, source] : {std::pair<const char*, AnswerSource>{"boxed", kBoxed}, {"tag", kTag}, {"hash", kHash}, {"phrase", kPhrase},
                                      {"last_number", kLastNumber}, {"whole", kWhole}})
    if (name == known) return source;
  return kAuto;
}

}  // namespace

Grader::Grader(const Benchmark& b, const RewardContext& context) {
  const auto side = [&](const std::string& entry, const char* key) {
    // JSON is YAML: the entry goes through the reader of recipes, with its checks and messages.
    const Config config = Config::parse("rewards: [" + entry + "]", message("benchmark ", b.name, ", ", key));
    ConfigReader root(config);
    std::vector<ConfigReader> entries = root.sections("rewards", "name");
    std::optional<AnswerSource> source;
    if (entries.at(0).get<std::string>("name", "") == "math") source = source_of(config.peek("rewards.0.extract").value_or("auto"));
    RewardContext limits = context;
    limits.max_new_tokens = b.sampling.max_new_tokens;
    Rubric rubric = make_rubric(std::move(entries), limits);
    root.finish();
    return std::unique_ptr<const Side>(new Side{std::move(rubric), source});
  };
  strict_ = side(b.strict, "strict");
  if (!b.lenient.empty()) lenient_ = side(b.lenient, "lenient");
  code_ = b.form == BenchmarkForm::kCode;
  if (b.vote) votes_ = strict_->source ? VoteEquality::kMaths : VoteEquality::kText;
}

Grader::Grader(Rubric rubric, bool maths) {
  strict_.reset(new Side{std::move(rubric), maths ? std::optional(AnswerSource::kAuto) : std::nullopt});
  if (maths) votes_ = VoteEquality::kMaths;
}

PromptCheck Grader::check_prompts(std::span<const Prompt> prompts) const { return strict_->rubric.check_prompts(prompts); }

Grade Grader::grade_side(const Side& side, const Prompt& prompt, const std::string& text, StopReason stop) const {
  SampleGroup group{prompt, std::vector<Completion>(1)};
  group.completions[0].text = text;
  group.completions[0].stop = stop;
  Score score = std::move(side.rubric.score(group)[0]);
  Grade out{score.verdict, score.value, score.detail, {}};
  if (!votes_) return out;
  if (side.source) {
    out.answer = voted_answer(text, prompt_opens_think(prompt), *side.source);
  } else if (const auto it = score.columns.find("answer_parsed"); it != score.columns.end()) {
    out.answer = it->second;
  }
  return out;
}

void Grader::grade(const Prompt& prompt, GradedSample& sample) const {
  sample.strict = grade_side(*strict_, prompt, sample.text, sample.stop);
  if (lenient_) sample.lenient = grade_side(*lenient_, prompt, sample.text, sample.stop);
  if (!code_) return;
  sample.lenient = sample.strict;
  const AnswerRegion region = after_think(sample.text, prompt_opens_think(prompt));
  if (!region.closed) return;
  if (const auto program = unfenced_program(region.text))
    sample.lenient = grade_side(*strict_, prompt, "```python\n" + *program + "\n```", sample.stop);
}

}  // namespace r1
