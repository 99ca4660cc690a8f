// What a user's reward says of one group, before anybody has believed it: checked and turned into RewardResults here,
// whatever way it came (command, Python, plug-in, gRPC).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/types.h"
#include "rewards/reward.h"

namespace r1 {

struct UserReply {
  std::vector<std::optional<double>> rewards;               // one a completion; none = abstains
  std::vector<std::string> verdicts, details;               // one a completion; empty list = none, "" = none for this one
  std::map<std::string, std::vector<std::string>> columns;  // one text a completion
  std::vector<std::vector<StepReward>> steps;               // one list a completion; empty list = none
  std::map<std::string, double> metrics;                    // of the whole group; averaged over the groups of a step
};

// Column under which a group's metric travels, on its first completion: rollout metrics average it by name.
inline constexpr std::string_view kMetricColumn = "metric/";

// Throws Error with the sample's number for a wrong length, a number that is not finite as float, an unknown verdict.
void fill_results(UserReply reply, std::span<RewardResult> out);

// Every completion abstains with this verdict (kTimeout, kError) and detail.
void abstain_all(std::span<RewardResult> out, Verdict verdict, const std::string& detail);

// The group as one line of JSON without a line break:
// {"id", "prompt_id", "task", "prompt", "messages", "reference", "columns", "completions": [{"text", "token_ids", "stop"}]}.
// Text that is not UTF-8 gets U+FFFD in place of bad bytes.
std::string write_request(std::uint64_t id, const SampleGroup& group);

// {"id", "rewards": [number | null, ...]} and, if wanted, "verdicts", "details", "columns": {name: [...]},
// "metrics": {name: number}; or {"id", "error", "traceback"}. Throws Error for everything else: no JSON, another id,
// unknown keys, a value of another type (with the sample's number), NaN, and with the text of "error".
UserReply parse_reply(std::string_view line, std::uint64_t id);

}  // namespace r1
