#include "rewards/users/user_reply.h"

#include <cmath>

#include "core/error.h"
#include "core/json_text.h"

namespace r1 {
namespace {

std::optional<Verdict> verdict_of(const std::string& text) {
  for (const Verdict v : {Verdict::kCorrect, Verdict::kWrong, Verdict::kUnparsed, Verdict::kTimeout, Verdict::kError, Verdict::kAbstain})
    if (text == to_string(v)) return v;
  return std::nullopt;
}

void check_length(const char* what, const std::string& name, std::size_t have, std::size_t want) {
  if (have != want)
    throw Error(message(what, name.empty() ? "" : " '" + name + "'", " has ", have, " entries for ", want,
                        " completions; give exactly one for each, in their order"));
}

}  // namespace

void fill_results(UserReply reply, std::span<RewardResult> out) {
  check_length("rewards", "", reply.rewards.size(), out.size());
  if (!reply.verdicts.empty()) check_length("verdicts", "", reply.verdicts.size(), out.size());
  if (!reply.details.empty()) check_length("details", "", reply.details.size(), out.size());
  if (!reply.steps.empty()) check_length("steps", "", reply.steps.size(), out.size());
  for (const auto& [name, values] : reply.columns) {
    if (name.empty()) throw Error("a column has an empty name");
    check_length("column", name, values.size(), out.size());
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    RewardResult& r = out[i];
    if (reply.rewards[i]) {
      r.value = static_cast<float>(*reply.rewards[i]);
      if (!std::isfinite(*r.value))
        throw NumericError(message("sample ", i, ": the reward is ", *reply.rewards[i],
                                   "; it must be a finite number (float32), or none to abstain"));
    }
    if (!reply.verdicts.empty() && !reply.verdicts[i].empty()) {
      const auto verdict = verdict_of(reply.verdicts[i]);
      if (!verdict)
        throw Error(message("sample ", i, ": '", reply.verdicts[i],
                            "' is no verdict; use ok, wrong, unparsed, timeout, error or abstain"));
      r.verdict = *verdict;
    }
    if (!reply.details.empty()) r.detail = std::move(reply.details[i]);
    if (!reply.steps.empty()) r.steps = std::move(reply.steps[i]);
    for (auto& [name, values] : reply.columns) r.columns[name] = std::move(values[i]);
  }
  for (const auto& [name, value] : reply.metrics) {
    if (name.empty()) throw Error("a metric has an empty name");
    if (!std::isfinite(value)) throw NumericError(message("metric '", name, "' is ", value, "; it must be a finite number"));
    if (!out.empty()) out[0].columns[std::string(kMetricColumn) + name] = json_number(value);
  }
}

void abstain_all(std::span<RewardResult> out, Verdict verdict, const std::string& detail) {
  for (RewardResult& r : out) {
    r = {};
    r.verdict = verdict;
    r.detail = detail;
  }
}

}  // namespace r1
