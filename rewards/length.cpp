#include "rewards/length.h"

#include <algorithm>

#include "core/error.h"
#include "rewards/relative_length.h"
#include "rewards/word_units.h"

namespace r1 {
namespace {

constexpr std::int64_t kMaxTokens = 1 << 28;

std::int64_t count_characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

// What a recipe calls the reward and its options.
struct OverlongNames {
  std::string_view reward;
  const char *max, *cache;
  std::int64_t least_cache;
};

class Overlong : public RewardFunction {
 public:
  Overlong(const OverlongNames& names, ConfigReader& o, std::int64_t max_new_tokens) : name_(names.reward) {
    if (max_new_tokens > 0) max_ = o.get_in<std::int64_t>(names.max, max_new_tokens, 2, kMaxTokens);
    else max_ = o.require_in<std::int64_t>(names.max, 2, kMaxTokens);
    cache_ = o.get_in<std::int64_t>(names.cache, std::max<std::int64_t>(1, max_ / 5), names.least_cache, kMaxTokens);
    if (cache_ >= max_) o.fail(names.cache, message("must be smaller than ", names.max, " (", max_, ")"));
  }
  std::string_view name() const override { return name_; }
  void score(const SampleGroup& group, std::span<RewardResult> out) const override {
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i].value = soft_overlong(static_cast<std::int64_t>(group.completions[i].tokens.size()), max_, cache_);
    }
  }
  std::vector<KnownAnswer> known_answers(const Prompt&) const override {
    const auto make = [](std::int64_t tokens) {
      Completion c;
      c.tokens.resize(static_cast<std::size_t>(tokens));
      c.stop = StopReason::kEos;
      return c;
    };
    if (max_ > 1'000'000) return {};  // not worth the memory
    return {{"a short completion", make(max_ - cache_), Verdict::kAbstain, 0.f},
            {"one at the limit", make(cache_ > 0 ? max_ : max_ + 1), Verdict::kAbstain, -1.f}};
  }

 private:
  std::string_view name_;
  std::int64_t max_ = 0, cache_ = 0;
};

class Length : public RewardFunction {
 public:
  explicit Length(ConfigReader& o) {
    unit_ = o.get_choice("unit", "tokens", std::vector<std::string>{"tokens", "words", "characters"});
    if (!o.has("max"))
      o.fail("max", "is needed; for lengths relative to the prompt's other completions, as open-r1's `length`, set mode: relative");
    max_ = o.require_in<std::int64_t>("max", 1, kMaxTokens);
    min_ = o.get_in<std::int64_t>("min", 0, 0, kMaxTokens);
    margin_ = o.get_in<std::int64_t>("margin", 0, 0, kMaxTokens);
    if (min_ > max_) o.fail("min", message("must not be larger than max (", max_, ")"));
  }
  std::string_view name() const override { return "length"; }
  void score(const SampleGroup& group, std::span<RewardResult> out) const override {
    for (std::size_t i = 0; i < out.size(); ++i) {
      const Completion& c = group.completions[i];
      const std::int64_t n = unit_ == "tokens"  ? static_cast<std::int64_t>(c.tokens.size())
                             : unit_ == "words" ? static_cast<std::int64_t>(word_units(c.text).size())
                                                : count_characters(c.text);
      const std::int64_t outside = n < min_ ? min_ - n : n > max_ ? n - max_ : 0;
      out[i].value = outside == 0        ? 1.f
                     : outside > margin_ ? 0.f
                                         : 1.f - static_cast<float>(outside) / static_cast<float>(margin_ + 1);
      out[i].columns["length"] = std::to_string(n);
    }
  }

 private:
  std::string unit_;
  std::int64_t min_ = 0, max_ = 0, margin_ = 0;
};

}  // namespace

float soft_overlong(std::int64_t tokens, std::int64_t max_tokens, std::int64_t cache_tokens) {
  const std::int64_t free = max_tokens - cache_tokens;
  if (tokens <= free) return 0.f;
  if (tokens >= max_tokens) return -1.f;
  return static_cast<float>(free - tokens) / static_cast<float>(cache_tokens);
}

std::unique_ptr<RewardFunction> make_overlong_reward(ConfigReader& options, std::int64_t max_new_tokens) {
  return std::make_unique<Overlong>(OverlongNames{"overlong", "max_tokens", "cache_tokens", 1}, options, max_new_tokens);
}
std::unique_ptr<RewardFunction> make_soft_overlong_reward(std::string_view name, ConfigReader& options, std::int64_t max_new_tokens) {
  return std::make_unique<Overlong>(OverlongNames{name, "max_completion_len", "soft_punish_cache", 0}, options, max_new_tokens);
}
std::unique_ptr<RewardFunction> make_length_reward(ConfigReader& options, std::int64_t max_new_tokens) {
  if (options.get_choice("mode", "range", std::vector<std::string>{"range", "relative"}) == "relative")
    return make_relative_length_reward(options, max_new_tokens);
  return std::make_unique<Length>(options);
}

}  // namespace r1
