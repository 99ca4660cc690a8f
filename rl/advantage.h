// Rewards of a group -> advantages: pure functions, torch-free.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
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
};
AdvantageKind parse_advantage_kind(std::string_view name);  // "group_zscore", ...; throws ConfigError listing the names
const char* to_string(AdvantageKind);

struct AdvantageOptions {
  AdvantageKind kind = AdvantageKind::kGroupZscore;
  double epsilon = 1e-6;  // in reward units; TRL adds 1e-4
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
