#include "apps/stage_flow.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace r1 {
namespace {

constexpr double kTokens = 250, kOfBudget = 0.25;  // of an answer that nobody has measured
constexpr double kUncut = 0.7;                     // means below this share of the budget were hardly cut
constexpr double kRight = 0.5;                     // of a model of which nothing is known
constexpr double kLearns = 10;                     // rollouts in which most of it happens, as the quick start does
constexpr double kSelected = 0.8;                  // pass the other filters

double cut_mean(double mean, double budget) { return mean * -std::expm1(-budget / mean); }

}  // namespace

Writing assumed_writing(int max_new_tokens) { return {std::max(kTokens, kOfBudget * max_new_tokens), true, 0, "assumed"}; }

Writing measured_writing(double mean, int max_new_tokens, double right, std::string why) {
  const double budget = max_new_tokens;
  if (mean <= kUncut * budget) return {mean, false, right, std::move(why)};
  double low = mean, high = 1000 * budget;  // the cut mean rises with the uncut one
  for (int i = 0; i < 100; ++i) {
    const double middle = std::sqrt(low * high);
    (cut_mean(middle, budget) < mean ? low : high) = middle;
  }
  return {low, true, right, std::move(why)};
}

double mean_written(const Writing& w, int max_new_tokens) {
  return w.spread ? cut_mean(w.tokens, max_new_tokens) : std::min(w.tokens, static_cast<double>(max_new_tokens));
}

double share_finished(const Writing& w, int max_new_tokens) { return w.spread ? -std::expm1(-max_new_tokens / w.tokens) : 1; }

double mean_finished(const Writing& w, int max_new_tokens) {
  if (!w.spread) return mean_written(w, max_new_tokens);
  const double ended = share_finished(w, max_new_tokens);
  return w.tokens - max_new_tokens * (1 - ended) / ended;
}

double expected_mixed(std::int64_t group, double right) {
  if (group <= 1) return 1;  // nothing to compare: all are learnt from
  if (right > 0) return 1 - std::pow(right, static_cast<double>(group)) - std::pow(1 - right, static_cast<double>(group));
  double all = 1;  // mean of p^group under the arcsine law
  for (std::int64_t i = 0; i < group; ++i) all *= (static_cast<double>(i) + 0.5) / static_cast<double>(i + 1);
  return 1 - 2 * all;
}

double learnt_mixed(double start, std::int64_t group, std::int64_t rollouts) {
  const double end = std::max(start, expected_mixed(group, 0));
  double near = 0;  // mean over the rollouts of how far it is on its way
  for (std::int64_t i = 0; i < rollouts; ++i) near -= std::expm1(-static_cast<double>(i) / kLearns);
  return start + (end - start) * near / static_cast<double>(std::max<std::int64_t>(1, rollouts));
}

double expected_kept(int samples, int most, double share) {
  if (most <= 0 || most >= samples) return samples * share;
  double sum = 0, chance = std::pow(1 - share, samples);  // of exactly k
  if (share >= 1) return most;
  for (int k = 0; k <= samples; ++k) {
    sum += std::min(k, most) * chance;
    chance *= static_cast<double>(samples - k) / (k + 1) * share / (1 - share);
  }
  return sum;
}

ExpectedSet expected_set(const Yield& y, std::int64_t prompts, double prompt_tokens, const Writing& w, int max_new_tokens, std::optional<double> kept) {
  ExpectedSet out;
  const bool ended = y.finished || y.correct;
  out.kept = kept.value_or((y.correct ? (w.right > 0 ? w.right : kRight) : y.finished ? share_finished(w, max_new_tokens) : 1) * (y.selective ? kSelected : 1));
  out.size.rows = std::llround(static_cast<double>(prompts) * expected_kept(y.samples, y.per_prompt, std::min(1.0, out.kept)));
  out.size.answer = ended ? mean_finished(w, max_new_tokens) : mean_written(w, max_new_tokens);
  out.size.tokens = prompt_tokens + out.size.answer;
  return out;
}

DataSize mixed_set(const Yield& y, const std::vector<DataSize>& sets) {
  double weights = 0, all = 1e18, sum = 0;  // all: rows that the scarcest set allows
  for (const auto& [path, weight] : y.mixed) weights += weight;
  for (std::size_t i = 0; i < sets.size(); ++i) {
    sum += static_cast<double>(sets[i].rows);
    if (weights > 0) all = std::min(all, static_cast<double>(sets[i].rows) * weights / y.mixed[i].second);
  }
  if (weights == 0) all = sum;
  if (y.mixed_rows > 0) all = std::min(all, static_cast<double>(y.mixed_rows));
  DataSize out;
  out.rows = static_cast<std::int64_t>(all);
  for (std::size_t i = 0; i < sets.size() && sum > 0; ++i) {
    const double share = weights > 0 ? y.mixed[i].second / weights : static_cast<double>(sets[i].rows) / sum;
    out.tokens += share * sets[i].tokens, out.answer += share * sets[i].answer;
  }
  return out;
}

}  // namespace r1
