#include "rl/train_samples.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace r1 {
namespace {

// Rounding of a float32 log-softmax may leave ln p a hair above 0.
constexpr float kLogprobSlack = 1e-3f;

WeightVersion oldest_version(const Completion& c) {
  if (c.version_runs.empty()) return 0;
  return std::min_element(c.version_runs.begin(), c.version_runs.end(),
                          [](const VersionRun& a, const VersionRun& b) { return a.version < b.version; })
      ->version;
}

TrainSample make_sample(const Prompt& prompt, const Completion& c, std::size_t index, std::uint64_t group,
                        std::span<const float> advantages, bool masked) {
  const std::size_t p = prompt.tokens.size(), n = c.tokens.size();
  TrainSample s;
  s.name = message(prompt.id, "/", index);
  R1_CHECK(c.logprobs.size() == n && (c.sampled.empty() || c.sampled.size() == n), "sample ", s.name, " has ", n,
           " tokens, ", c.logprobs.size(), " log-probabilities, ", c.sampled.size(), " sampled flags");
  s.tokens = prompt.tokens;
  s.tokens.insert(s.tokens.end(), c.tokens.begin(), c.tokens.end());
  s.prompt_length = static_cast<std::int32_t>(p);
  s.group = group;
  s.loss_mask.assign(p + n, 0);
  s.behavior_logprobs.assign(p + n, 0.f);
  s.advantages.assign(p + n, 0.f);
  s.oldest = oldest_version(c);
  s.experts = c.experts;
  for (std::size_t t = 0; t < n && !masked; ++t) {
    if (p + t == 0 || (!c.sampled.empty() && !c.sampled[t])) continue;
    if (!std::isfinite(c.logprobs[t]) || c.logprobs[t] > kLogprobSlack)
      throw NumericError(message("sample ", s.name, ", completion token ", t, " of ", n,
                                 ": the sampler's log-probability is ", c.logprobs[t],
                                 "; it must be finite and at most 0"));
    s.loss_mask[p + t] = 1;
    s.behavior_logprobs[p + t] = c.logprobs[t];
    s.advantages[p + t] = advantages[t];
  }
  return s;
}

// By token, of every completion of the group; samples without a score have no steps.
std::vector<std::vector<float>> step_advantages(const ScoredGroup& g, double epsilon) {
  std::vector<std::vector<StepReward>> steps;
  std::vector<std::size_t> lengths;
  for (std::size_t i = 0; i < g.scores.size(); ++i) {
    const Completion& c = g.group.completions[i];
    steps.push_back(is_abstained(c, g.scores[i]) ? std::vector<StepReward>{} : g.scores[i].steps);
    lengths.push_back(c.tokens.size());
  }
  try {
    return process_advantages(steps, lengths, epsilon);
  } catch (const Error& e) {
    throw DataError(message("prompt ", g.group.prompt.id, ": ", e.what()));
  }
}

}  // namespace

TrainSet make_train_samples(std::span<const ScoredGroup> groups, const TrainSampleOptions& options,
                            std::span<const std::uint8_t> kept) {
  R1_CHECK(kept.empty() || kept.size() == groups.size(), kept.size(), " flags for ", groups.size(), " groups");
  std::vector<const ScoredGroup*> used;
  std::vector<GroupRewards> rewards;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    if (!kept.empty() && !kept[g]) continue;
    used.push_back(&groups[g]);
    rewards.push_back(rewards_of(groups[g]));
  }
  const AdvantageOptions& o = options.advantage;
  const Advantages advantages = o.kind == AdvantageKind::kGdpo      ? gdpo_advantages(used, o)
                                : o.kind == AdvantageKind::kProcess ? compute_advantages(rewards, {AdvantageKind::kNone})
                                                                    : compute_advantages(rewards, o);
  TrainSet out;
  out.zero_std_groups = advantages.zero_std_groups;
  out.abstained_samples = advantages.abstained_samples;
  out.abstained_groups = advantages.abstained_groups;
  for (std::size_t g = 0; g < used.size(); ++g) {
    const SampleGroup& group = used[g]->group;
    std::vector<std::vector<float>> tokens;
    if (o.kind == AdvantageKind::kProcess) tokens = step_advantages(*used[g], o.epsilon);
    for (std::size_t i = 0; i < group.completions.size(); ++i) {
      if (!rewards[g][i]) continue;
      const bool masked = options.overlong_filter && group.completions[i].stop == StopReason::kLength;
      out.overlong_filtered += masked;
      const std::vector<float> own = tokens.empty() ? std::vector<float>(group.completions[i].tokens.size(), advantages.values[g][i])
                                                    : std::move(tokens[i]);
      out.samples.push_back(make_sample(group.prompt, group.completions[i], i, g, own, masked));
    }
  }
  return out;
}

std::int64_t trained_tokens(const TrainSample& sample) {
  return std::count_if(sample.loss_mask.begin(), sample.loss_mask.end(), [](std::uint8_t m) { return m != 0; });
}

std::string names_of(std::span<const TrainSample> samples, std::span<const std::int32_t> chosen) {
  constexpr std::size_t kShown = 8;
  std::string out;
  for (std::size_t i = 0; i < chosen.size() && i < kShown; ++i) out += (i ? ", " : "") + samples[chosen[i]].name;
  if (chosen.size() > kShown) out += message(" and ", chosen.size() - kShown, " more");
  return out;
}

Digest digest_of(std::span<const TrainSample> samples) {
  Hasher h;
  for (const TrainSample& s : samples) {
    h.update_field({reinterpret_cast<const char*>(s.tokens.data()), s.tokens.size() * sizeof(TokenId)});
    h.update_field({reinterpret_cast<const char*>(s.loss_mask.data()), s.loss_mask.size()});
  }
  return h.digest();
}

}  // namespace r1
