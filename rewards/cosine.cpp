#include "rewards/cosine.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "rewards/completion_text.h"
#include "rewards/factory.h"

namespace r1 {
namespace {

class Cosine : public RewardFunction {
 public:
  Cosine(ConfigReader& o, std::int64_t max_new_tokens) {
    constexpr std::int64_t kMaxTokens = 1 << 28;
    if (max_new_tokens > 0) max_len_ = o.get_in<std::int64_t>("max_len", max_new_tokens, 1, kMaxTokens);
    else max_len_ = o.require_in<std::int64_t>("max_len", 1, kMaxTokens);
    min_wrong_ = o.get_in<float>("min_value_wrong", -1.f, -1e6f, 1e6f);
    max_wrong_ = o.get_in<float>("max_value_wrong", -0.5f, -1e6f, 1e6f);
    min_correct_ = o.get_in<float>("min_value_correct", 0.5f, -1e6f, 1e6f);
    max_correct_ = o.get_in<float>("max_value_correct", 1.f, -1e6f, 1e6f);
    truncated_ = o.get_in<float>("truncated_wrong", min_wrong_, -1e6f, 1e6f);
    if (min_wrong_ > max_wrong_) o.fail("min_value_wrong", message("must not be above max_value_wrong (", max_wrong_, ")"));
    if (min_correct_ > max_correct_)
      o.fail("min_value_correct", message("must not be above max_value_correct (", max_correct_, ")"));
    // Else a long right answer could earn less than a wrong one, and being wrong would be learned.
    if (max_wrong_ > min_correct_)
      o.fail("max_value_wrong", message("must not be above min_value_correct (", min_correct_, ")"));
    RewardContext context;
    context.max_new_tokens = max_new_tokens;
    judge_ = make_judge(o, context);
  }

  std::string_view name() const override { return "cosine"; }
  bool judges_answer() const override { return true; }
  std::string check_prompt(const Prompt& prompt) const override { return judge_->check_prompt(prompt); }

  void score(const SampleGroup& group, std::span<RewardResult> out) const override {
    judge_->score(group, out);
    for (std::size_t i = 0; i < out.size(); ++i) out[i].value = scaled(out[i].verdict, group.completions[i]);
  }

  std::vector<KnownAnswer> known_answers(const Prompt& prompt) const override {
    std::vector<KnownAnswer> known = judge_->known_answers(prompt);
    for (KnownAnswer& k : known) k.value = scaled(k.verdict, k.completion);
    return known;
  }

 private:
  // A judge that timed out, failed or abstained has said nothing about the answer.
  std::optional<float> scaled(Verdict verdict, const Completion& c) const {
    const auto length = static_cast<std::int64_t>(c.tokens.size());
    if (verdict == Verdict::kCorrect) return cosine_scaled(length, max_len_, max_correct_, min_correct_);
    if (verdict != Verdict::kWrong && verdict != Verdict::kUnparsed) return std::nullopt;
    return ended(c) ? cosine_scaled(length, max_len_, min_wrong_, max_wrong_) : truncated_;
  }

  std::unique_ptr<RewardFunction> judge_;
  std::int64_t max_len_ = 0;
  float min_wrong_ = 0, max_wrong_ = 0, min_correct_ = 0, max_correct_ = 0, truncated_ = 0;
};

}  // namespace

float cosine_scaled(std::int64_t length, std::int64_t max_len, float at_zero, float at_max) {
  const double progress =
      std::clamp(static_cast<double>(length) / static_cast<double>(max_len), 0.0, 1.0) * std::numbers::pi;
  return static_cast<float>(at_max + 0.5 * (static_cast<double>(at_zero) - at_max) * (1.0 + std::cos(progress)));
}

std::unique_ptr<RewardFunction> make_cosine_reward(ConfigReader& options, std::int64_t max_new_tokens) {
  return std::make_unique<Cosine>(options, max_new_tokens);
}

}  // namespace r1
