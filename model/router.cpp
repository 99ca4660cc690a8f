#include "model/router.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/error.h"

namespace r1 {
namespace {

using Scoring = MixtureOfExperts::Scoring;

// The k largest of values [n], ties to the smaller index, ascending by index.
void largest(const float* values, std::int64_t n, std::int64_t k, std::int32_t* out) {
  // Insertion into a short list that is sorted by value: k is small.
  std::int64_t held = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    if (held == k && !(values[i] > values[out[k - 1]])) continue;
    std::int64_t at = held < k ? held++ : k - 1;
    for (; at > 0 && values[i] > values[out[at - 1]]; --at) out[at] = out[at - 1];
    out[at] = static_cast<std::int32_t>(i);
  }
  std::sort(out, out + k);
}

// The best one of a group, or the sum of its two best.
float group_value(const float* values, std::int64_t n, bool two) {
  float first = -std::numeric_limits<float>::infinity(), second = first;
  for (std::int64_t i = 0; i < n; ++i) {
    if (values[i] > first) second = first, first = values[i];
    else if (values[i] > second) second = values[i];
  }
  return two ? first + second : first;
}

void choose(const MixtureOfExperts& moe, const float* scores, const float* bias, std::int32_t* experts) {
  const std::int64_t e = moe.num_experts;
  thread_local std::vector<float> ranked, groups;
  thread_local std::vector<std::int32_t> kept;
  ranked.assign(scores, scores + e);
  for (std::int64_t i = 0; bias != nullptr && i < e; ++i) ranked[static_cast<std::size_t>(i)] += bias[i];
  if (moe.top_groups < moe.num_groups) {
    const std::int64_t width = e / moe.num_groups;
    groups.resize(static_cast<std::size_t>(moe.num_groups));
    kept.resize(static_cast<std::size_t>(moe.top_groups));
    for (std::int64_t g = 0; g < moe.num_groups; ++g)
      groups[static_cast<std::size_t>(g)] = group_value(ranked.data() + g * width, width, moe.scoring == Scoring::kSigmoid);
    largest(groups.data(), moe.num_groups, moe.top_groups, kept.data());
    for (std::int64_t g = 0; g < moe.num_groups; ++g)
      if (!std::binary_search(kept.begin(), kept.end(), static_cast<std::int32_t>(g)))
        std::fill_n(ranked.begin() + g * width, width, -std::numeric_limits<float>::infinity());
  }
  largest(ranked.data(), e, moe.experts_per_token, experts);
}

}  // namespace

void route_token(const MixtureOfExperts& moe, const float* bias, const std::uint16_t* replayed, float* s, std::int32_t* experts,
                 float* weights) {
  const std::int64_t e = moe.num_experts, k = moe.experts_per_token;
  if (moe.scoring == Scoring::kSoftmax) {
    float max = s[0], sum = 0;
    for (std::int64_t i = 1; i < e; ++i) max = std::max(max, s[i]);
    for (std::int64_t i = 0; i < e; ++i) sum += s[i] = std::exp(s[i] - max);
    for (std::int64_t i = 0; i < e; ++i) s[i] /= sum;
  } else {
    for (std::int64_t i = 0; i < e; ++i) s[i] = 1 / (1 + std::exp(-s[i]));
  }
  if (replayed == nullptr) {
    choose(moe, s, bias, experts);
  } else {
    for (std::int64_t i = 0; i < k; ++i) {
      R1_CHECK(replayed[i] < e, "replayed expert ", replayed[i], " of ", e);
      experts[i] = replayed[i];
    }
    std::sort(experts, experts + k);
    R1_CHECK(std::adjacent_find(experts, experts + k) == experts + k, "a replayed expert is there twice");
  }
  float sum = 0;
  for (std::int64_t i = 0; i < k; ++i) sum += weights[i] = s[experts[i]];
  const auto scale = static_cast<float>(moe.scale);
  const float divisor = sum + static_cast<float>(moe.normalise_epsilon);
  for (std::int64_t i = 0; i < k; ++i) weights[i] = (moe.normalise ? weights[i] / divisor : weights[i]) * scale;
}

void route_token_backward(const MixtureOfExperts& moe, const float* s, const std::int32_t* experts, const float* d_weights, float* d_logits) {
  const std::int64_t e = moe.num_experts, k = moe.experts_per_token;
  const auto scale = static_cast<float>(moe.scale);
  thread_local std::vector<float> d_scores;
  d_scores.resize(static_cast<std::size_t>(k));
  float sum = static_cast<float>(moe.normalise_epsilon), mean = 0;
  for (std::int64_t i = 0; i < k; ++i) sum += s[experts[i]];
  for (std::int64_t i = 0; i < k; ++i) mean += d_weights[i] * s[experts[i]] / sum;
  for (std::int64_t i = 0; i < k; ++i)
    d_scores[static_cast<std::size_t>(i)] = scale * (moe.normalise ? (d_weights[i] - mean) / sum : d_weights[i]);
  if (moe.scoring == Scoring::kSigmoid) {
    for (std::int64_t i = 0; i < k; ++i) {
      const float v = s[experts[i]];
      d_logits[experts[i]] += d_scores[static_cast<std::size_t>(i)] * v * (1 - v);
    }
    return;
  }
  float dot = 0;
  for (std::int64_t i = 0; i < k; ++i) dot += d_scores[static_cast<std::size_t>(i)] * s[experts[i]];
  for (std::int64_t i = 0; i < e; ++i) d_logits[i] -= s[i] * dot;
  for (std::int64_t i = 0; i < k; ++i) d_logits[experts[i]] += d_scores[static_cast<std::size_t>(i)] * s[experts[i]];
}

double balance_loss(const MixtureOfExperts& moe, const float* scores, const std::int32_t* experts, std::int64_t n, double weight, float* d_logits) {
  const std::int64_t e = moe.num_experts, k = moe.experts_per_token;
  const bool sigmoid = moe.scoring == Scoring::kSigmoid;
  if (n == 0) return 0;
  std::vector<double> f(static_cast<std::size_t>(e), 0.0), p(static_cast<std::size_t>(e), 0.0), sums(static_cast<std::size_t>(n), 1.0);
  for (std::int64_t t = 0; t < n; ++t) {
    const float* s = scores + t * e;
    double& sum = sums[static_cast<std::size_t>(t)];
    if (sigmoid) {
      sum = 0;
      for (std::int64_t i = 0; i < e; ++i) sum += s[i];
    }
    for (std::int64_t i = 0; i < e; ++i) p[static_cast<std::size_t>(i)] += s[i] / sum / static_cast<double>(n);
    for (std::int64_t i = 0; i < k; ++i)
      f[static_cast<std::size_t>(experts[t * k + i])] += static_cast<double>(e) / static_cast<double>(k * n);
  }
  double loss = 0;
  for (std::int64_t i = 0; i < e; ++i) loss += f[static_cast<std::size_t>(i)] * p[static_cast<std::size_t>(i)];
  if (d_logits == nullptr) return loss;
  for (std::int64_t t = 0; t < n; ++t) {
    // d P_i / d s_j = (1[i = j] - P'_i) / sum, with P' this token's share; a softmax's derivative is that with its own s.
    const float* s = scores + t * e;
    double mean = 0;
    for (std::int64_t i = 0; i < e; ++i) mean += f[static_cast<std::size_t>(i)] * s[i] / sums[static_cast<std::size_t>(t)];
    for (std::int64_t i = 0; i < e; ++i) {
      const double share = s[i] / sums[static_cast<std::size_t>(t)];
      const double slope = sigmoid ? share * (1 - static_cast<double>(s[i])) : share;
      d_logits[t * e + i] += static_cast<float>(weight / static_cast<double>(n) * (f[static_cast<std::size_t>(i)] - mean) * slope);
    }
  }
  return loss;
}

void update_correction_bias(std::span<const std::int64_t> load, double speed, float* bias) {
  double mean = 0;
  for (const std::int64_t l : load) mean += static_cast<double>(l) / static_cast<double>(load.size());
  for (std::size_t i = 0; i < load.size(); ++i) {
    const double gap = mean - static_cast<double>(load[i]);
    bias[i] += static_cast<float>(gap > 0 ? speed : gap < 0 ? -speed : 0);
  }
}

}  // namespace r1
