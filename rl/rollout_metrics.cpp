#include "rl/rollout_metrics.h"

#include <cstdlib>
#include <string_view>
#include <vector>

#include "core/metrics.h"
#include "rl/advantage.h"

namespace r1 {
namespace {

constexpr std::string_view kVerdictColumn = "/verdict";
// What users' rewards log of a group: a number under "metric/NAME" on one of its completions.
constexpr std::string_view kMetricColumn = "metric/";

struct Sums {
  Statistics reward, group_std, length, terminated, entropy, correct_length, wrong_length;
  std::map<std::string, std::vector<double>> parts;
  std::map<std::string, std::map<std::string, std::int64_t>> verdicts;
  std::map<std::string, Statistics> logged;
  std::int64_t samples = 0, groups = 0, compared = 0, zero_std = 0, clipped = 0, judged = 0, correct = 0, solved = 0,
               judged_groups = 0, abstained = 0;
};

void add_sample(Sums& s, const Completion& c, const Score& score) {
  const auto length = static_cast<double>(c.tokens.size());
  s.samples += 1;
  s.length.add(length);
  if (c.stop == StopReason::kLength)
    s.clipped += 1;
  else if (c.stop != StopReason::kAborted)
    s.terminated.add(length);
  for (float h : c.entropies) s.entropy.add(h);
  if (is_abstained(c, score)) {
    s.abstained += 1;
  } else {
    s.reward.add(score.value);
  }
  for (const auto& [name, value] : score.parts) s.parts[name].push_back(value);
  for (const auto& [name, value] : score.columns) {
    if (name.size() > kVerdictColumn.size() && std::string_view(name).ends_with(kVerdictColumn))
      s.verdicts[name.substr(0, name.size() - kVerdictColumn.size())][value] += 1;
    // "LABEL/metric/NAME" where two rewards log the same name.
    const std::size_t at = name.find(kMetricColumn);
    if (at != std::string::npos && (at == 0 || name[at - 1] == '/'))
      s.logged[name.substr(0, at) + name.substr(at + kMetricColumn.size())].add(std::strtod(value.c_str(), nullptr));
  }
  if (score.verdict == Verdict::kAbstain) return;
  s.judged += 1;
  s.correct += score.verdict == Verdict::kCorrect;
  (score.verdict == Verdict::kCorrect ? s.correct_length : s.wrong_length).add(length);
}

void add_group(Sums& s, const ScoredGroup& g) {
  bool judged = false, solved = false;
  for (std::size_t i = 0; i < g.scores.size(); ++i) {
    add_sample(s, g.group.completions[i], g.scores[i]);
    judged = judged || g.scores[i].verdict != Verdict::kAbstain;
    solved = solved || g.scores[i].verdict == Verdict::kCorrect;
  }
  s.groups += 1;
  s.judged_groups += judged;
  s.solved += solved;
  std::vector<double> rewards;
  for (const auto& r : rewards_of(g))
    if (r) rewards.push_back(*r);
  if (rewards.size() < 2) return;
  const double std = sample_std(rewards);
  s.compared += 1;
  s.zero_std += std == 0;
  s.group_std.add(std);
}

double share(std::int64_t part, std::int64_t whole) { return static_cast<double>(part) / static_cast<double>(whole); }

void put_lengths(std::map<std::string, double>& m, const std::string& suffix, const Statistics& s) {
  if (s.count() == 0) return;
  m["completions/mean_" + suffix] = s.mean();
  m["completions/min_" + suffix] = s.min();
  m["completions/max_" + suffix] = s.max();
}

}  // namespace

std::map<std::string, double> rollout_metrics(std::span<const ScoredGroup> groups) {
  Sums s;
  for (const ScoredGroup& g : groups) add_group(s, g);
  std::map<std::string, double> m;
  if (s.samples == 0) return m;
  if (s.reward.count() > 0) m["reward"] = s.reward.mean();
  if (s.compared > 0) {
    m["reward_std"] = s.group_std.mean();
    m["frac_reward_zero_std"] = share(s.zero_std, s.compared);
  }
  for (const auto& [name, values] : s.parts) {
    Statistics part;
    for (double v : values) part.add(v);
    m["rewards/" + name + "/mean"] = part.mean();
    m["rewards/" + name + "/std"] = sample_std(values);
  }
  for (const auto& [name, counts] : s.verdicts) {
    std::int64_t all = 0;
    for (const auto& [verdict, n] : counts) all += n;
    for (const auto& [verdict, n] : counts) m["verdict/" + name + "/" + verdict] = share(n, all);
  }
  put_lengths(m, "length", s.length);
  put_lengths(m, "terminated_length", s.terminated);
  m["completions/clipped_ratio"] = share(s.clipped, s.samples);
  if (s.entropy.count() > 0) m["entropy"] = s.entropy.mean();
  if (s.judged > 0) m["accuracy"] = share(s.correct, s.judged);
  if (s.judged_groups > 0) m["pass_at_g"] = share(s.solved, s.judged_groups);
  if (s.correct_length.count() > 0) m["length/correct"] = s.correct_length.mean();
  if (s.wrong_length.count() > 0) m["length/wrong"] = s.wrong_length.mean();
  m["abstained"] = share(s.abstained, s.samples);
  for (const auto& [name, values] : s.logged)
    if (!m.emplace(name, values.mean()).second) m["user/" + name] = values.mean();  // a name of ours stays ours
  return m;
}

std::int64_t count_completion_tokens(std::span<const ScoredGroup> groups) {
  std::int64_t n = 0;
  for (const ScoredGroup& g : groups)
    for (const Completion& c : g.group.completions) n += static_cast<std::int64_t>(c.tokens.size());
  return n;
}

std::int64_t count_tokens(std::span<const ScoredGroup> groups) {
  std::int64_t n = count_completion_tokens(groups);
  for (const ScoredGroup& g : groups)
    n += static_cast<std::int64_t>(g.group.prompt.tokens.size() * g.group.completions.size());
  return n;
}

}  // namespace r1
