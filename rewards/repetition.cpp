#include "rewards/repetition.h"

#include <algorithm>
#include <unordered_set>

#include "core/rng.h"
#include "rewards/word_units.h"

namespace r1 {
namespace {

float repeated(const std::vector<std::uint64_t>& units, int ngram) {
  const std::size_t n = static_cast<std::size_t>(ngram);
  if (units.size() < n) return 0.f;
  const std::size_t total = units.size() - n + 1;
  std::unordered_set<std::uint64_t> distinct;
  distinct.reserve(total);
  for (std::size_t i = 0; i < total; ++i) {
    std::uint64_t h = 0;
    for (std::size_t k = 0; k < n; ++k) h = mix64(h + units[i + k]);
    distinct.insert(h);
  }
  return 1.f - static_cast<float>(distinct.size()) / static_cast<float>(total);
}

class Repetition : public RewardFunction {
 public:
  Repetition(ConfigReader& o, bool trl) : name_(trl ? "repetition_penalty" : "repetition") {
    ngram_ = o.get_in<int>(trl ? "ngram_size" : "ngram", 3, 1, 100);
    penalty_ = trl ? -o.get_in<float>("max_penalty", -1.f, -1e6f, 0.f) : o.get_in<float>("max_penalty", 1.f, 0.f, 1e6f);
    tokens_ = o.get_choice("unit", trl ? "tokens" : "words", std::vector<std::string>{"words", "tokens"}) == "tokens";
  }
  std::string_view name() const override { return name_; }
  void score(const SampleGroup& group, std::span<RewardResult> out) const override {
    for (std::size_t i = 0; i < out.size(); ++i) {
      const Completion& c = group.completions[i];
      const float share = tokens_ ? repeated_share(c.tokens, ngram_) : repeated_share(c.text, ngram_);
      out[i].value = share == 0 ? 0.f : -penalty_ * share;
    }
  }
  std::vector<KnownAnswer> known_answers(const Prompt&) const override {
    if (tokens_ || ngram_ > 3) return {};
    Completion good;
    good.text = "every word here is different";
    good.stop = StopReason::kEos;
    return {{"no repetition", good, Verdict::kAbstain, 0.f}};
  }

 private:
  std::string_view name_;
  int ngram_ = 3;
  float penalty_ = 1;
  bool tokens_ = false;
};

}  // namespace

float repeated_share(std::string_view text, int ngram) { return repeated(word_units(text), ngram); }
float repeated_share(const std::vector<TokenId>& tokens, int ngram) {
  std::vector<std::uint64_t> units(tokens.size());
  std::transform(tokens.begin(), tokens.end(), units.begin(),
                 [](TokenId t) { return mix64(static_cast<std::uint64_t>(t) + 1); });
  return repeated(units, ngram);
}

std::unique_ptr<RewardFunction> make_repetition_reward(ConfigReader& options) {
  return std::make_unique<Repetition>(options, false);
}
std::unique_ptr<RewardFunction> make_repetition_penalty_reward(ConfigReader& options) {
  return std::make_unique<Repetition>(options, true);
}

}  // namespace r1
