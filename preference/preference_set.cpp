#include "preference/preference_set.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <utility>

#include "core/error.h"

namespace r1 {
namespace {

// Rows up to the last one that predicts a marked token.
std::int64_t row_end(const TrainSample& s) {
  const auto last = std::find(s.loss_mask.rbegin(), s.loss_mask.rend(), std::uint8_t{1});
  return static_cast<std::int64_t>(s.loss_mask.rend() - last) - 1;
}

std::int64_t answer_length(const TrainSample& s) { return static_cast<std::int64_t>(s.tokens.size()) - s.prompt_length; }

}  // namespace

std::vector<std::int64_t> at_places(std::span<const std::int64_t> examples, std::span<const std::int32_t> places) {
  std::vector<std::int64_t> out;
  for (const std::int32_t place : places) out.push_back(examples[static_cast<std::size_t>(place)]);
  return out;
}

std::vector<std::int32_t> samples_of(const PreferenceSet& set, std::span<const std::int64_t> chosen) {
  std::vector<std::int32_t> out;
  for (const std::int64_t e : chosen) {
    if (set.pairs) out.push_back(static_cast<std::int32_t>(2 * e)), out.push_back(static_cast<std::int32_t>(2 * e + 1));
    else out.push_back(static_cast<std::int32_t>(e));
  }
  return out;
}

std::vector<std::int64_t> rows_of(const PreferenceSet& set, std::span<const std::int64_t> chosen) {
  std::vector<std::int64_t> rows;
  for (const std::int64_t e : chosen) {
    std::int64_t n = 0;
    for (const std::int32_t i : samples_of(set, {&e, 1})) n += row_end(set.samples[static_cast<std::size_t>(i)]);
    if (set.pairs) n -= set.samples[static_cast<std::size_t>(2 * e)].prompt_length;
    rows.push_back(n);
  }
  return rows;
}

void mark_for_scores(PreferenceSet& set) {
  for (TrainSample& s : set.samples) {
    s.tokens.push_back(s.tokens.back());
    s.loss_mask.assign(s.tokens.size(), 0);
    s.loss_mask.back() = 1;
    s.behavior_logprobs.assign(s.tokens.size(), 0.f);
    s.advantages.assign(s.tokens.size(), 0.f);
  }
}

std::int64_t balance_lengths(PreferenceSet& set) {
  R1_CHECK(set.pairs, "labelled answers have no pairs to balance");
  const auto n = static_cast<std::size_t>(set.size());
  std::vector<std::int64_t> difference(n);
  for (std::size_t i = 0; i < n; ++i) difference[i] = answer_length(set.samples[2 * i]) - answer_length(set.samples[2 * i + 1]);
  std::int64_t sum = std::accumulate(difference.begin(), difference.end(), std::int64_t{0});
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return difference[a] > difference[b]; });
  if (sum < 0) std::reverse(order.begin(), order.end());
  std::vector<std::uint8_t> left_out(n, 0);
  for (const std::size_t i : order) {
    if (sum == 0 || (sum > 0) != (difference[i] > 0) || difference[i] == 0) break;
    if (std::abs(sum - difference[i]) >= std::abs(sum)) continue;  // a smaller one may still fit
    sum -= difference[i];
    left_out[i] = 1;
  }
  PreferenceSet kept;
  for (std::size_t i = 0; i < n; ++i)
    if (!left_out[i])
      for (std::size_t k : {2 * i, 2 * i + 1}) {
        kept.samples.push_back(std::move(set.samples[k]));
        kept.samples.back().group = (kept.samples.size() - 1) / 2;
      }
  set = std::move(kept);
  return static_cast<std::int64_t>(n) - set.size();
}

MeanLengths mean_lengths(const PreferenceSet& set) {
  double sum[2] = {0, 0}, count[2] = {0, 0};
  for (std::size_t i = 0; i < set.samples.size(); ++i) {
    const std::size_t bad = set.pairs ? i % 2 : (set.labels[i] < 0.5 ? 1 : 0);
    sum[bad] += static_cast<double>(answer_length(set.samples[i]));
    count[bad] += 1;
  }
  return {count[0] > 0 ? sum[0] / count[0] : 0, count[1] > 0 ? sum[1] / count[1] : 0};
}

}  // namespace r1
