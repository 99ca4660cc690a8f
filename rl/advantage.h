// Rewards of a group -> advantages: pure functions, torch-free.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/types.h"

namespace r1 {

// r = reward, G = scored samples of the group, sample standard deviations (n-1).
enum class AdvantageKind : std::uint8_t {
  kGroupZscore,  // (r - mean) / (std + epsilon): GRPO, arXiv:2402.03300 section 4.1.2
  kGroupMean,    // r - mean: Dr. GRPO, arXiv:2503.20783
  kBatchStd,     // (r - group mean) / (std of all rewards of the rollout + epsilon): arXiv:2508.08221
  kRloo,         // r - mean of the others = G/(G-1) (r - mean): arXiv:2402.14740
  kNone,         // r
  kGdpo,         // each reward's own z-score in the group, their weighted sum, scaled over the rollout: arXiv:2601.05242
  kProcess,      // z-scores of step rewards over the group, summed from a token on: arXiv:2402.03300 section 4.1.3
  kGae,          // r; the learner makes advantages of it with its critic (rl/critic.h)
};
AdvantageKind parse_advantage_kind(std::string_view name);  // "group_zscore", ...; throws ConfigError listing the names
const char* to_string(AdvantageKind);
bool divides_by_std(AdvantageKind);  // has an epsilon

struct AdvantageOptions {
  AdvantageKind kind = AdvantageKind::kGroupZscore;
  double epsilon = 1e-6;  // in reward units; TRL adds 1e-4
  // Of kGdpo: the rewards' weights by label, 1 if not named; and whether the sums are centred and scaled over the rollout.
  std::map<std::string, double> weights = {};
  bool batch_normalize = true;
};

// No value = every reward abstained (or the sample was cut off from outside): it takes no part in means and trains
// nothing.
using GroupRewards = std::vector<std::optional<float>>;

struct Advantages {
  std::vector<std::vector<float>> values;  // as the input; 0 where there is no reward
  std::int64_t zero_std_groups = 0;        // at least two scored samples, all with one reward
  std::int64_t abstained_samples = 0;      // without a reward, in groups that have some
  std::int64_t abstained_groups = 0;       // without any reward: to be dropped
};

// Rules: a group of one sample has no baseline, A = r. A larger group in which a single sample was scored teaches
// nothing: A = 0. Equal rewards give exactly 0 under every kind but kNone. Throws NumericError for a reward that is not
// finite.
Advantages compute_advantages(std::span<const GroupRewards> rewards, const AdvantageOptions& options);

// kGdpo. A reward that abstained, or is equal in its group, adds nothing.
Advantages gdpo_advantages(std::span<const ScoredGroup* const> groups, const AdvantageOptions& options);

// kProcess, of one group: steps [G] of its samples, lengths [G] of the completions in tokens -> [G][L]. All step rewards of the
// group are normalised together; a token gets the sum of those of the steps that end at or after it. Fewer than two step rewards, or
// equal ones, teach nothing. Throws DataError for a step outside its completion, NumericError for a reward that is not finite.
std::vector<std::vector<float>> process_advantages(std::span<const std::vector<StepReward>> steps, std::span<const std::size_t> lengths,
                                                   double epsilon);

// Dynamic sampling (DAPO, arXiv:2503.14476 section 3.2) on the raw verdicts: true iff the verdicts are mixed (some, not
// all, correct) or no sample has one, and the rewards are not all equal. Samples without a reward are left out.
bool keeps_group(const ScoredGroup& group);

// True if no reward spoke, or the completion was cancelled.
bool is_abstained(const Completion& completion, const Score& score);

// The rewards of a group as advantages see them.
GroupRewards rewards_of(const ScoredGroup& group);

// Sample standard deviation (n-1), 0 for fewer than two values.
double sample_std(std::span<const double> values);

}  // namespace r1
