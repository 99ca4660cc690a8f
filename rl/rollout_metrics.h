// Metrics of a rollout: rewards, lengths, verdicts. TRL's names where TRL has the metric.
#pragma once

#include <map>
#include <span>
#include <string>

#include "core/types.h"

namespace r1 {

// reward, reward_std (mean of the groups' sample std), rewards/{name}/{mean,std}, frac_reward_zero_std,
// completions/{mean,min,max}_length, completions/{mean,min,max}_terminated_length (ended by themselves),
// completions/clipped_ratio (cut by the token budget), entropy (nats, over all drawn tokens, if the engine gave it),
// accuracy (share with verdict ok), pass_at_g (groups with at least one), length/{correct,wrong},
// verdict/{name}/{verdict} (shares), abstained (samples no reward spoke on). Metrics without data are absent.
std::map<std::string, double> rollout_metrics(std::span<const ScoredGroup> groups);

// Prompt and completion tokens of all samples, as TRL's num_tokens counts them.
std::int64_t count_tokens(std::span<const ScoredGroup> groups);
std::int64_t count_completion_tokens(std::span<const ScoredGroup> groups);

}  // namespace r1
