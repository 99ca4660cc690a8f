// Two rewards in a shared library: see README.md.
#include <algorithm>
#include <cstdint>

#include "rewards/plugin.h"

namespace {

// 1 for an empty completion, falling by `per_token` for each token, never below 0.
class Brevity : public r1::RewardFunction {
 public:
  explicit Brevity(double per_token) : per_token_(per_token) {}
  std::string_view name() const override { return "brevity"; }
  void score(const r1::SampleGroup& group, std::span<r1::RewardResult> out) const override {
    for (std::size_t i = 0; i < out.size(); ++i) {
      const double tokens = static_cast<double>(group.completions[i].tokens.size());
      out[i].value = static_cast<float>(std::max(0.0, 1.0 - per_token_ * tokens));
      out[i].columns["tokens"] = std::to_string(group.completions[i].tokens.size());
    }
  }

 private:
  double per_token_;
};

// A reward that needs the whole group: 1 for the shortest completion that ended by itself, 0 for the others. Completions
// that did not end abstain: they take no part.
class Shortest : public r1::RewardFunction {
 public:
  std::string_view name() const override { return "shortest"; }
  std::string check_prompt(const r1::Prompt& prompt) const override { return prompt.reference.empty() ? "has no gold answer" : ""; }
  void score(const r1::SampleGroup& group, std::span<r1::RewardResult> out) const override {
    std::size_t least = SIZE_MAX;
    const auto ended = [](const r1::Completion& c) { return c.stop == r1::StopReason::kEos || c.stop == r1::StopReason::kStop; };
    for (const r1::Completion& c : group.completions)
      if (ended(c)) least = std::min(least, c.text.size());
    for (std::size_t i = 0; i < out.size(); ++i)
      if (ended(group.completions[i])) out[i].value = group.completions[i].text.size() == least ? 1.f : 0.f;
  }
};

}  // namespace

R1_REWARD_PLUGIN({"brevity", "1 minus so much a token",
                  [](r1::PluginArguments& a) -> std::unique_ptr<r1::RewardFunction> {
                    const double per_token = a.number("per_token", 0.01);
                    if (per_token <= 0) throw std::invalid_argument("per_token must be above 0");
                    return std::make_unique<Brevity>(per_token);
                  }},
                 {"shortest", "1 for the group's shortest",
                  [](r1::PluginArguments&) -> std::unique_ptr<r1::RewardFunction> { return std::make_unique<Shortest>(); }})
