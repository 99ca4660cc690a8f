#include "distill/kd_loss.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"

namespace r1 {
namespace {

// Tails that rounded away would make a divergence infinite.
constexpr double kLeastTeacherTail = -27.631021115928547;  // ln 1e-12
constexpr double kLeastTail = 1e-30;

double log_sum_exp(std::span<const float> logits, double temperature) {
  const double top = *std::max_element(logits.begin(), logits.end()) / temperature;
  double sum = 0;
  for (const float z : logits) sum += std::exp(z / temperature - top);
  return top + std::log(sum);
}

// One outcome's part of the divergence, and g = d(divergence)/d ln q.
struct Term {
  double loss = 0, g = 0;
};

Term term(double log_p, double log_q, double q, const KdOptions& o) {
  const double p = std::exp(log_p);
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
  const double t = o.temperature, lse_q = log_sum_exp(student, t), lse_p = log_sum_exp(teacher, t);
  std::vector<double> g(student.size()), q(student.size());
  double loss = 0, sum_g = 0;
  for (std::size_t v = 0; v < student.size(); ++v) {
    const double log_q = student[v] / t - lse_q;
    q[v] = std::exp(log_q);
    const Term x = term(teacher[v] / t - lse_p, log_q, q[v], o);
    loss += x.loss, sum_g += g[v] = x.g;
  }
  // (g - q sum g) / t, times t^2
  for (std::size_t v = 0; v < student.size(); ++v) student[v] = static_cast<float>(weight * t * (g[v] - q[v] * sum_g));
  return loss * t * t;
}

float top_k_of(std::span<const float> logits, double temperature, std::span<std::int32_t> ids, std::span<float> logprobs) {
  R1_CHECK(ids.size() == logprobs.size() && ids.size() <= logits.size() && !ids.empty(), "the top ", ids.size(), " of ", logits.size());
  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto before = [&](std::int32_t a, std::int32_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; };
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(ids.size()), order.end(), before);
  const double lse = log_sum_exp(logits, temperature);
  for (std::size_t k = 0; k < ids.size(); ++k) {
    ids[k] = order[k];
    logprobs[k] = static_cast<float>(logits[order[k]] / temperature - lse);
  }
  double tail = 0;
  for (std::size_t k = ids.size(); k < order.size(); ++k) tail += std::exp(logits[order[k]] / temperature - lse);
  return static_cast<float>(std::log(tail));
}

double kd_row_top_k(std::span<float> student, const TopKRow& teacher, const KdOptions& o, double weight) {
  const std::size_t k = teacher.ids.size();
  R1_CHECK(k == teacher.logprobs.size() && k > 0 && k <= student.size(), "the top ", k, " of a teacher for a student of ", student.size());
  const double t = o.temperature, lse = log_sum_exp(student, t);
  std::vector<std::uint8_t> kept(student.size(), 0);
  std::vector<double> g(k), own(k);
  double loss = 0, sum_g = 0;
  for (std::size_t i = 0; i < k; ++i) {
    const std::int32_t id = teacher.ids[i];
    R1_CHECK(id >= 0 && static_cast<std::size_t>(id) < student.size(), "token ", id, " of a teacher for a student of ", student.size());
    kept[static_cast<std::size_t>(id)] = 1;
    const double log_q = student[static_cast<std::size_t>(id)] / t - lse;
    own[i] = std::exp(log_q);
    const Term x = term(teacher.logprobs[i], log_q, own[i], o);
    loss += x.loss, sum_g += g[i] = x.g;
  }
  double tail = 0;  // the student's mass outside
  for (std::size_t v = 0; v < student.size(); ++v)
    if (!kept[v]) tail += std::exp(student[v] / t - lse);
  tail = std::max(tail, kLeastTail);
  Term rest;
  if (k < student.size()) rest = term(std::max<double>(teacher.tail_logprob, kLeastTeacherTail), std::log(tail), tail, o);
  loss += rest.loss, sum_g += rest.g;
  for (std::size_t v = 0; v < student.size(); ++v) {
    if (kept[v]) continue;
    const double q = std::exp(student[v] / t - lse);
    student[v] = static_cast<float>(weight * t * q * (rest.g / tail - sum_g));
  }
  for (std::size_t i = 0; i < k; ++i)
    student[static_cast<std::size_t>(teacher.ids[i])] = static_cast<float>(weight * t * (g[i] - own[i] * sum_g));
  return loss * t * t;
}

}  // namespace r1
