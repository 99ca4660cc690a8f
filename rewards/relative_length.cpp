#include "rewards/relative_length.h"

#include <algorithm>
#include <string>
#include <vector>

#include "rewards/factory.h"

namespace r1 {
namespace {

std::int64_t token_count(const Completion& c) { return static_cast<std::int64_t>(c.tokens.size()); }

class RelativeLength : public RewardFunction {
 public:
  RelativeLength(ConfigReader& o, std::int64_t max_new_tokens) {
    RewardContext context;
    context.max_new_tokens = max_new_tokens;
    judge_ = make_judge(o, context);
  }
  std::string_view name() const override { return "length"; }
  bool judges_answer() const override { return true; }
  std::string check_prompt(const Prompt& prompt) const override { return judge_->check_prompt(prompt); }

  void score(const SampleGroup& group, std::span<RewardResult> out) const override {
    if (out.empty()) return;
    judge_->score(group, out);
    const auto [least, most] =
        std::minmax_element(group.completions.begin(), group.completions.end(),
                            [](const Completion& a, const Completion& b) { return a.tokens.size() < b.tokens.size(); });
    for (std::size_t i = 0; i < out.size(); ++i) {
      const Verdict v = out[i].verdict;
      const std::int64_t length = token_count(group.completions[i]);
      out[i].value.reset();
      if (v == Verdict::kCorrect || v == Verdict::kWrong || v == Verdict::kUnparsed)
        out[i].value = relative_length(length, token_count(*least), token_count(*most), v == Verdict::kCorrect);
      out[i].columns["length"] = std::to_string(length);
    }
  }

 private:
  std::unique_ptr<RewardFunction> judge_;
};

}  // namespace

float relative_length(std::int64_t length, std::int64_t shortest, std::int64_t longest, bool correct) {
  if (longest <= shortest) return 0.f;
  const double share = static_cast<double>(length - shortest) / static_cast<double>(longest - shortest);
  const float value = static_cast<float>(0.5 - share);
  return correct ? value : std::min(0.f, value);
}

std::unique_ptr<RewardFunction> make_relative_length_reward(ConfigReader& options, std::int64_t max_new_tokens) {
  return std::make_unique<RelativeLength>(options, max_new_tokens);
}

}  // namespace r1
