#include "rl/advantage.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>

#include "core/error.h"

namespace r1 {
namespace {

constexpr std::array<std::pair<std::string_view, AdvantageKind>, 8> kNames = {{
    {"group_zscore", AdvantageKind::kGroupZscore},
    {"group_mean", AdvantageKind::kGroupMean},
    {"batch_std", AdvantageKind::kBatchStd},
    {"rloo", AdvantageKind::kRloo},
    {"none", AdvantageKind::kNone},
    {"gdpo", AdvantageKind::kGdpo},
    {"process", AdvantageKind::kProcess},
    {"gae", AdvantageKind::kGae},
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
    case AdvantageKind::kNone:
    case AdvantageKind::kGae: return reward;
    case AdvantageKind::kGdpo:
    case AdvantageKind::kProcess: break;  // functions of their own
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

bool divides_by_std(AdvantageKind kind) {
  return kind == AdvantageKind::kGroupZscore || kind == AdvantageKind::kBatchStd || kind == AdvantageKind::kGdpo ||
         kind == AdvantageKind::kProcess;
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
    if (options.kind != AdvantageKind::kNone && options.kind != AdvantageKind::kGae && !single && (equal || scored.size() == 1)) continue;
    const double group_mean = mean(scored), group_std = sample_std(scored);
    for (std::size_t i = 0; i < group.size(); ++i)
      if (group[i])
        values[i] = static_cast<float>(single ? *group[i]
                                              : advantage(*group[i], group_mean, group_std, batch_std,
                                                          static_cast<double>(scored.size()), options));
  }
  return out;
}

Advantages gdpo_advantages(std::span<const ScoredGroup* const> groups, const AdvantageOptions& o) {
  // The rewards as compute_advantages() counts them: who abstained, which groups say nothing.
  std::vector<GroupRewards> totals;
  std::map<std::string, bool> labels;
  for (const ScoredGroup* g : groups) {
    totals.push_back(rewards_of(*g));
    for (const Score& s : g->scores)
      for (const auto& [label, value] : s.parts) labels[label] = true;
  }
  Advantages out = compute_advantages(totals, {AdvantageKind::kNone});
  std::vector<std::vector<double>> sums(groups.size());
  for (std::size_t g = 0; g < groups.size(); ++g) sums[g].assign(totals[g].size(), 0.0);
  for (const auto& [label, unused] : labels) {
    const auto weight = o.weights.find(label);
    std::vector<GroupRewards> parts(groups.size());
    for (std::size_t g = 0; g < groups.size(); ++g)
      for (std::size_t i = 0; i < totals[g].size(); ++i) {
        const auto part = groups[g]->scores[i].parts.find(label);
        parts[g].push_back(totals[g][i] && part != groups[g]->scores[i].parts.end() ? std::optional<float>(part->second) : std::nullopt);
      }
    const Advantages own = compute_advantages(parts, {AdvantageKind::kGroupZscore, o.epsilon});
    for (std::size_t g = 0; g < groups.size(); ++g)
      for (std::size_t i = 0; i < sums[g].size(); ++i) sums[g][i] += (weight == o.weights.end() ? 1.0 : weight->second) * own.values[g][i];
  }
  std::vector<double> all;
  for (std::size_t g = 0; g < groups.size(); ++g)
    for (std::size_t i = 0; i < sums[g].size(); ++i)
      if (totals[g][i]) all.push_back(sums[g][i]);
  const bool scales = o.batch_normalize && !all.empty() && !all_equal(all);
  const double centre = scales ? mean(all) : 0, scale = scales ? sample_std(all) + o.epsilon : 1;
  for (std::size_t g = 0; g < groups.size(); ++g)
    for (std::size_t i = 0; i < sums[g].size(); ++i) out.values[g][i] = totals[g][i] ? static_cast<float>((sums[g][i] - centre) / scale) : 0.f;
  return out;
}

std::vector<std::vector<float>> process_advantages(std::span<const std::vector<StepReward>> steps, std::span<const std::size_t> lengths,
                                                   double epsilon) {
  R1_CHECK(steps.size() == lengths.size(), steps.size(), " samples with steps, ", lengths.size(), " lengths");
  std::vector<double> all;
  for (std::size_t i = 0; i < steps.size(); ++i)
    for (const StepReward& s : steps[i]) {
      if (s.token < 0 || static_cast<std::size_t>(s.token) >= lengths[i])
        throw DataError(message("a step reward ends at token ", s.token, " of sample ", i, ", which has ", lengths[i], " tokens"));
      if (!std::isfinite(s.value)) throw NumericError(message("a step reward of sample ", i, " is ", s.value, "; it must be finite"));
      all.push_back(s.value);
    }
  std::vector<std::vector<float>> out;
  for (std::size_t n : lengths) out.emplace_back(n, 0.f);
  if (all.size() < 2 || all_equal(all)) return out;
  const double centre = mean(all), scale = sample_std(all) + epsilon;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    std::vector<double> at(lengths[i], 0.0);
    for (const StepReward& s : steps[i]) at[static_cast<std::size_t>(s.token)] += (s.value - centre) / scale;
    double to_go = 0;
    for (std::size_t t = lengths[i]; t-- > 0;) out[i][t] = static_cast<float>(to_go += at[t]);
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
