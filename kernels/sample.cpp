// Drawing one token from a row of logits: exact filters, ties by id, inverse of the cumulative distribution in id order.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/error.h"
#include "kernels/cpu.h"
#include "kernels/table.h"
#include "kernels/vocab.h"

namespace r1::cpu {
namespace {

struct Candidate {
  std::int32_t id = 0;
  float logit = 0.f, weight = 0.f;  // weight = exp(z - max)
};

[[noreturn]] void reject(const float* logits, std::int64_t v) {
  for (std::int64_t i = 0; i < v; ++i) {
    if (std::isnan(logits[i]) || logits[i] == std::numeric_limits<float>::infinity())
      throw NumericError(message("logit ", i, " of ", v, " is ", logits[i], "; the weights or the activations of this row went bad"));
  }
  throw NumericError(message("all ", v, " logits are -inf; at least one token must be allowed"));
}

// A logit that at least k logits reach: the k-th largest of the maxima of pieces.
float reached_by(const float* logits, std::int64_t v, std::int64_t k) {
  constexpr std::int64_t kPiece = 64;
  std::vector<float> maxima;
  for (std::int64_t i = 0; i < v; i += kPiece) maxima.push_back(table().row_max(logits + i, std::min(kPiece, v - i)));
  if (static_cast<std::int64_t>(maxima.size()) < k) return -std::numeric_limits<float>::infinity();
  std::nth_element(maxima.begin(), maxima.begin() + (k - 1), maxima.end(), std::greater<>());
  return maxima[static_cast<std::size_t>(k - 1)];
}

class Row {
 public:
  Row(const float* logits, std::int64_t v, float temperature, float max)
      : logits_(logits), v_(v), temperature_(temperature), inv_t_(inverse_temperature(temperature)), max_(max) {}

  // All tokens of positive weight whose logit reaches `threshold`, by id.
  std::vector<Candidate> above(float threshold) const {
    std::vector<std::int32_t> ids(static_cast<std::size_t>(v_));
    ids.resize(static_cast<std::size_t>(table().collect(logits_, v_, threshold, ids.data())));
    std::vector<float> found(ids.size()), weights(ids.size());
    for (std::size_t i = 0; i < ids.size(); ++i) found[i] = logits_[ids[i]];
    table().exp_values(found.data(), static_cast<std::int64_t>(found.size()), inv_t_, max_, weights.data());
    std::vector<Candidate> out;
    out.reserve(ids.size());
    for (std::size_t i = 0; i < ids.size(); ++i)
      if (weights[i] > 0.f) out.push_back({ids[i], found[i], weights[i]});
    return out;
  }

  // The logit that lies `nats` below the largest, on the scale of z.
  float below_max(float nats) const { return (max_ - nats) * temperature_; }

 private:
  const float* logits_;
  std::int64_t v_;
  float temperature_, inv_t_, max_;
};

bool before(const Candidate& a, const Candidate& b) { return a.logit != b.logit ? a.logit > b.logit : a.id < b.id; }

double mass(const std::vector<Candidate>& c) {
  double sum = 0.0;
  for (const Candidate& x : c) sum += x.weight;
  return sum;
}

// Reorders c so that its first n, the return value, are the smallest prefix in the order `before` whose mass reaches the
// goal (at least one). A quickselect by mass: only the neighbourhood of the cut gets sorted.
std::size_t smallest_prefix(std::vector<Candidate>& c, double goal) {
  std::size_t low = 0, high = c.size();
  double below = 0.0;  // mass of [0, low), all of it before the rest
  while (high - low > 32) {
    const Candidate a = c[low], b = c[low + (high - low) / 2], d = c[high - 1];
    const Candidate pivot = before(a, b) ? (before(b, d) ? b : before(a, d) ? d : a) : (before(a, d) ? a : before(b, d) ? d : b);
    const auto from = c.begin() + static_cast<std::ptrdiff_t>(low), to = c.begin() + static_cast<std::ptrdiff_t>(high);
    const auto middle = std::partition(from, to, [&](const Candidate& x) { return !before(pivot, x); });
    if (middle == to) break;  // the pivot was the last: sort the rest
    double left = 0.0;
    for (auto it = from; it != middle; ++it) left += it->weight;
    const auto cut = static_cast<std::size_t>(middle - c.begin());
    if (below + left >= goal) {
      high = cut;
    } else {
      below += left;
      low = cut;
    }
  }
  std::sort(c.begin() + static_cast<std::ptrdiff_t>(low), c.begin() + static_cast<std::ptrdiff_t>(high), before);
  while (low < high && (low == 0 || below < goal)) below += c[low++].weight;
  return low;
}

// The kept tokens, by id. `sum` is the mass of the whole row.
std::vector<Candidate> filtered(const Row& row, const float* logits, std::int64_t v, const SamplingArgs& args, double sum) {
  const float everything = -std::numeric_limits<float>::infinity();
  const bool top_k = args.top_k > 0 && args.top_k < v, top_p = args.top_p < 1.f;
  std::vector<Candidate> kept;
  if (top_k) {
    kept = row.above(reached_by(logits, v, args.top_k));
    std::sort(kept.begin(), kept.end(), before);
    if (static_cast<std::int64_t>(kept.size()) > args.top_k) kept.resize(static_cast<std::size_t>(args.top_k));
  }
  if (top_p) {
    const double total = top_k ? mass(kept) : sum;
    const double goal = static_cast<double>(args.top_p) * total;
    if (!top_k) {
      // Only as many as are needed must be sorted.
      for (const float nats : {4.f, 8.f, 16.f, 200.f}) {
        kept = row.above(nats > 100.f ? everything : row.below_max(nats));
        if (mass(kept) >= goal) break;
      }
    }
    kept.resize(smallest_prefix(kept, goal));
  }
  if (!top_k && !top_p) kept = row.above(args.min_p > 0.f ? row.below_max(-std::log(args.min_p) + 0.01f) : everything);
  if (args.min_p > 0.f) std::erase_if(kept, [&](const Candidate& c) { return c.weight < args.min_p && c.weight < 1.f; });
  std::sort(kept.begin(), kept.end(), [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
  return kept;
}

// The first id at which the running sum passes the goal, by chunk sums, then within the chunk.
std::int32_t draw(const float* logits, std::int64_t v, float inv_t, float max, const std::vector<double>& chunk_sums, double goal) {
  std::size_t chunk = 0;
  double before_chunk = 0.0;
  std::size_t last = 0;  // the last chunk with any mass, for a goal that rounding put at the very end
  bool found = false;
  double running = 0.0;
  for (std::size_t c = 0; c < chunk_sums.size(); ++c) {
    if (chunk_sums[c] <= 0.0) continue;
    last = c;
    if (running + chunk_sums[c] > goal) {
      chunk = c;
      before_chunk = running;
      found = true;
      break;
    }
    running += chunk_sums[c];
  }
  if (!found) {
    chunk = last;
    before_chunk = running - chunk_sums[last];
  }
  float weights[kVocabChunk];
  const std::int64_t begin = static_cast<std::int64_t>(chunk) * kVocabChunk, n = std::min(kVocabChunk, v - begin);
  table().exp_values(logits + begin, n, inv_t, max, weights);
  std::int64_t token = 0;
  double sum = before_chunk;
  for (std::int64_t i = 0; i < n; ++i) {
    if (weights[i] <= 0.f) continue;
    token = i;
    sum += weights[i];
    if (sum > goal) break;
  }
  return static_cast<std::int32_t>(begin + token);
}

}  // namespace

Sampled sample_row(const float* logits, std::int64_t v, const SamplingArgs& args) {
  R1_CHECK(v > 0, "an empty row of logits");
  R1_CHECK(args.temperature >= 0.f && args.uniform >= 0.0 && args.uniform <= 1.0, "temperature ", args.temperature, ", uniform ",
           args.uniform);
  const bool greedy = args.temperature == 0.f;
  const float temperature = greedy ? 1.f : args.temperature;
  thread_local std::vector<double> chunk_sums;
  chunk_sums.resize(static_cast<std::size_t>((v + kVocabChunk - 1) / kVocabChunk));
  const RowStats stats = row_stats_with_sums(logits, v, temperature, true, chunk_sums.data());
  if (!std::isfinite(stats.logsumexp)) reject(logits, v);
  Sampled out;
  out.entropy = stats.entropy;
  if (greedy) {
    out.token = static_cast<std::int32_t>(table().first_equal(logits, v, table().row_max(logits, v)));
    out.logprob = row_logprob(logits, stats, out.token, temperature);
    return out;
  }
  double sum = 0.0;
  for (const double s : chunk_sums) sum += s;
  const bool filters = (args.top_k > 0 && args.top_k < v) || args.top_p < 1.f || args.min_p > 0.f;
  if (!filters) {
    out.token = draw(logits, v, inverse_temperature(temperature), stats.max, chunk_sums, args.uniform * sum);
    out.logprob = row_logprob(logits, stats, out.token, temperature);
    return out;
  }
  const std::vector<Candidate> kept = filtered(Row(logits, v, temperature, stats.max), logits, v, args, sum);
  const double total = mass(kept), goal = args.uniform * total;
  const Candidate* chosen = &kept.back();
  double running = 0.0;
  for (const Candidate& c : kept) {
    running += c.weight;
    if (running > goal) {
      chosen = &c;
      break;
    }
  }
  out.token = chosen->id;
  out.logprob = static_cast<float>(static_cast<double>(chosen->logit * inverse_temperature(temperature) - stats.max) - std::log(total));
  return out;
}

}  // namespace r1::cpu
