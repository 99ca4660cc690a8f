#include "kd/kd_loss.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "kernels/cpu.h"

namespace r1 {
namespace {

// Tails that rounded away would make a divergence infinite.
constexpr double kLeastTeacherTail = -27.631021115928547;  // ln 1e-12
constexpr double kLeastTail = 1e-30;

// softmax(logits / temperature) by the kernels, with its sums in float64.
struct Softmax {
  Softmax(std::span<const float> logits, double t) : probabilities(logits.size()), temperature(t) {
    const auto n = static_cast<std::int64_t>(logits.size());
    const auto t32 = static_cast<float>(t);
    const cpu::RowStats stats = cpu::row_stats(logits.data(), n, t32, false);
    // d(-t ln p(no token)) / d logits is the distribution itself.
    cpu::row_logprob_backward(logits.data(), n, stats, -1, t32, -t32, 0.f, probabilities.data(), cpu::Type::kF32);
    for (const float p : probabilities) sum += p;
    logsumexp = stats.logsumexp + std::log(sum);
  }
  double p(std::size_t v) const { return probabilities[v] / sum; }
  double log_p(std::span<const float> logits, std::size_t v) const { return logits[v] / temperature - logsumexp; }

  std::vector<float> probabilities;
  double temperature, sum = 0, logsumexp = 0;
};

// One outcome's part of the divergence, and g = d(divergence)/d ln q.
struct Term {
  double loss = 0, g = 0;
};

Term term(double log_p, double p, double log_q, double q, const KdOptions& o) {
  if (o.divergence == Divergence::kForward || (o.divergence == Divergence::kJsd && o.beta == 0))
    return {p > 0 ? p * (log_p - log_q) : 0, -p};
  if (o.divergence == Divergence::kReverse || (o.divergence == Divergence::kJsd && o.beta == 1))
    return {q > 0 ? q * (log_q - log_p) : 0, q > 0 ? q * (log_q - log_p + 1) : 0};
  const double m = o.beta * p + (1 - o.beta) * q;
  if (m <= 0) return {};
  const double log_m = std::log(m);
  const double q_part = q > 0 ? (1 - o.beta) * q * (log_q - log_m) : 0;
  return {(p > 0 ? o.beta * p * (log_p - log_m) : 0) + q_part, q_part};
}

}  // namespace

Divergence parse_divergence(std::string_view name) {
  if (name == "forward_kl") return Divergence::kForward;
  if (name == "reverse_kl") return Divergence::kReverse;
  if (name == "jsd") return Divergence::kJsd;
  throw ConfigError(message("distill.divergence is \"", name, "\"; it can be forward_kl, reverse_kl, jsd"));
}

double kd_row(std::span<float> student, std::span<const float> teacher, const KdOptions& o, double weight) {
  R1_CHECK(student.size() == teacher.size() && !student.empty(), "student row of ", student.size(), ", teacher row of ", teacher.size());
  const double t = o.temperature;
  const Softmax q(student, t), p(teacher, t);
  std::vector<double> g(student.size());
  double loss = 0, sum_g = 0;
  for (std::size_t v = 0; v < student.size(); ++v) {
    const Term x = term(p.log_p(teacher, v), p.p(v), q.log_p(student, v), q.p(v), o);
    loss += x.loss, sum_g += g[v] = x.g;
  }
  // (g - q sum g) / t, times t^2
  for (std::size_t v = 0; v < student.size(); ++v) student[v] = static_cast<float>(weight * t * (g[v] - q.p(v) * sum_g));
  return loss * t * t;
}

float top_k_of(std::span<const float> logits, double temperature, std::span<std::int32_t> ids, std::span<float> logprobs) {
  R1_CHECK(ids.size() == logprobs.size() && ids.size() <= logits.size() && !ids.empty(), "the top ", ids.size(), " of ", logits.size());
  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto before = [&](std::int32_t a, std::int32_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; };
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(ids.size()), order.end(), before);
  const Softmax p(logits, temperature);
  for (std::size_t k = 0; k < ids.size(); ++k) {
    ids[k] = order[k];
    logprobs[k] = static_cast<float>(p.log_p(logits, static_cast<std::size_t>(order[k])));
  }
  double tail = 0;
  for (std::size_t k = ids.size(); k < order.size(); ++k) tail += p.p(static_cast<std::size_t>(order[k]));
  return static_cast<float>(std::log(tail));
}

double kd_row_top_k(std::span<float> student, const TopKRow& teacher, const KdOptions& o, double weight) {
  const std::size_t k = teacher.ids.size();
  R1_CHECK(k == teacher.logprobs.size() && k > 0 && k <= student.size(), "the top ", k, " of a teacher for a student of ", student.size());
  const double t = o.temperature;
  const Softmax q(student, t);
  std::vector<std::uint8_t> kept(student.size(), 0);
  std::vector<double> g(k);
  double loss = 0, sum_g = 0;
  for (std::size_t i = 0; i < k; ++i) {
    const auto v = static_cast<std::size_t>(teacher.ids[i]);
    R1_CHECK(teacher.ids[i] >= 0 && v < student.size(), "token ", teacher.ids[i], " of a teacher for a student of ", student.size());
    kept[v] = 1;
    const Term x = term(teacher.logprobs[i], std::exp(double{teacher.logprobs[i]}), q.log_p(student, v), q.p(v), o);
    loss += x.loss, sum_g += g[i] = x.g;
  }
  double tail = 0;  // the student's mass outside
  for (std::size_t v = 0; v < student.size(); ++v)
    if (!kept[v]) tail += q.p(v);
  tail = std::max(tail, kLeastTail);
  Term rest;
  if (k < student.size()) {
    const double log_p = std::max<double>(teacher.tail_logprob, kLeastTeacherTail);
    rest = term(log_p, std::exp(log_p), std::log(tail), tail, o);
  }
  loss += rest.loss, sum_g += rest.g;
  for (std::size_t v = 0; v < student.size(); ++v)
    if (!kept[v]) student[v] = static_cast<float>(weight * t * q.p(v) * (rest.g / tail - sum_g));
  for (std::size_t i = 0; i < k; ++i) {
    const auto v = static_cast<std::size_t>(teacher.ids[i]);
    student[v] = static_cast<float>(weight * t * (g[i] - q.p(v) * sum_g));
  }
  return loss * t * t;
}

}  // namespace r1
