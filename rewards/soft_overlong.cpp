#include "rewards/soft_overlong.h"

#include <algorithm>

#include "core/error.h"
#include "rewards/length.h"

namespace r1 {
namespace {

class SoftOverlong : public RewardFunction {
 public:
  SoftOverlong(ConfigReader& o, std::int64_t max_new_tokens) {
    constexpr std::int64_t kMaxTokens = 1 << 28;
    if (max_new_tokens > 0) max_ = o.get_in<std::int64_t>("max_completion_len", max_new_tokens, 2, kMaxTokens);
    else max_ = o.require_in<std::int64_t>("max_completion_len", 2, kMaxTokens);
    cache_ = o.get_in<std::int64_t>("soft_punish_cache", std::max<std::int64_t>(1, max_ / 5), 1, kMaxTokens);
    if (cache_ >= max_) o.fail("soft_punish_cache", message("must be smaller than max_completion_len (", max_, ")"));
  }
  std::string_view name() const override { return "soft_overlong"; }
  void score(const SampleGroup& group, std::span<RewardResult> out) const override {
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i].value = soft_overlong(static_cast<std::int64_t>(group.completions[i].tokens.size()), max_, cache_);
    }
  }

 private:
  std::int64_t max_ = 0, cache_ = 0;
};

}  // namespace

std::unique_ptr<RewardFunction> make_soft_overlong_reward(ConfigReader& options, std::int64_t max_new_tokens) {
  return std::make_unique<SoftOverlong>(options, max_new_tokens);
}

}  // namespace r1
