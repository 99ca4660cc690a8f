#include "rl/advantage.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>

#include "core/error.h"

namespace r1 {
namespace {

constexpr std::array<std::pair<std::string_view, AdvantageKind>, 5> kNames = {{
    {"group_zscore", AdvantageKind::kGroupZscore},
    {"group_mean", AdvantageKind::kGroupMean},
    {"batch_std", AdvantageKind::kBatchStd},
    {"rloo", AdvantageKind::kRloo},
    {"none", AdvantageKind::kNone},
}};

std::vector<double> present(const GroupRewards& rewards) {
  std::vector<double> values;
  for (const auto& r : rewards)
    if (r) values.push_back(*r);
  return values;
}

bool all_equal(std::span<const double> values) {
  return std::all_of(values.begin(), values.end(), [&](double v) { return v == values.front(); });
}

double mean(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double advantage(double reward, double group_mean, double group_std, double batch_std, double n,
                 const AdvantageOptions& o) {
  switch (o.kind) {
    case AdvantageKind::kGroupZscore: return (reward - group_mean) / (group_std + o.epsilon);
    case AdvantageKind::kGroupMean: return reward - group_mean;
    case AdvantageKind::kBatchStd: return (reward - group_mean) / (batch_std + o.epsilon);
    case AdvantageKind::kRloo: return (reward - group_mean) * n / (n - 1);
    case AdvantageKind::kNone: return reward;
  }
  return 0;
}

}  // namespace

AdvantageKind parse_advantage_kind(std::string_view name) {
  std::string known;
  for (const auto& [text, kind] : kNames) {
    if (text == name) return kind;
    known += (known.empty() ? "" : ", ") + std::string(text);
  }
  throw ConfigError(message("rl.advantage.kind is \"", name, "\"; it can be ", known));
}

const char* to_string(AdvantageKind kind) {
  for (const auto& [text, k] : kNames)
    if (k == kind) return text.data();
  return "?";
}

double sample_std(std::span<const double> values) {
  if (values.size() < 2) return 0;
  const double m = mean(values);
  double sum = 0;
  for (double v : values) sum += (v - m) * (v - m);
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

Advantages compute_advantages(std::span<const GroupRewards> rewards, const AdvantageOptions& options) {
  Advantages out;
  std::vector<double> all;
  for (std::size_t g = 0; g < rewards.size(); ++g) {
    for (std::size_t i = 0; i < rewards[g].size(); ++i) {
      if (!rewards[g][i]) continue;
      if (!std::isfinite(*rewards[g][i]))
        throw NumericError(message("the reward of sample ", i, " of group ", g, " is ", *rewards[g][i],
                                   "; a reward must return a finite number or abstain"));
      all.push_back(*rewards[g][i]);
    }
  }
  const double batch_std = sample_std(all);
  for (const GroupRewards& group : rewards) {
    std::vector<float>& values = out.values.emplace_back(group.size(), 0.f);
    const std::vector<double> scored = present(group);
    if (scored.empty()) {
      ++out.abstained_groups;
      continue;
    }
    out.abstained_samples += static_cast<std::int64_t>(group.size() - scored.size());
    const bool single = group.size() == 1;
    const bool equal = scored.size() > 1 && all_equal(scored);
    out.zero_std_groups += equal;
    if (options.kind != AdvantageKind::kNone && !single && (equal || scored.size() == 1)) continue;
    const double group_mean = mean(scored), group_std = sample_std(scored);
    for (std::size_t i = 0; i < group.size(); ++i)
      if (group[i])
        values[i] = static_cast<float>(single ? *group[i]
                                              : advantage(*group[i], group_mean, group_std, batch_std,
                                                          static_cast<double>(scored.size()), options));
  }
  return out;
}

bool is_abstained(const Completion& completion, const Score& score) {
  return score.parts.empty() || completion.stop == StopReason::kAborted;
}

GroupRewards rewards_of(const ScoredGroup& group) {
  R1_CHECK(group.scores.size() == group.group.completions.size(), "group ", group.group.prompt.id, " has ",
           group.group.completions.size(), " completions and ", group.scores.size(), " scores");
  GroupRewards rewards(group.scores.size());
  for (std::size_t i = 0; i < rewards.size(); ++i)
    if (!is_abstained(group.group.completions[i], group.scores[i])) rewards[i] = group.scores[i].value;
  return rewards;
}

bool keeps_group(const ScoredGroup& group) {
  const std::vector<double> values = present(rewards_of(group));
  if (values.size() < 2 || all_equal(values)) return false;
  std::size_t verdicts = 0, correct = 0;
  for (std::size_t i = 0; i < group.scores.size(); ++i) {
    if (is_abstained(group.group.completions[i], group.scores[i])) continue;
    verdicts += group.scores[i].verdict != Verdict::kAbstain;
    correct += group.scores[i].verdict == Verdict::kCorrect;
  }
  return verdicts == 0 || (correct > 0 && correct < verdicts);
}

}  // namespace r1
