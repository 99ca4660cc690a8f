#include "rl/audit_watch.h"

#include <cmath>
#include <cstdio>
#include <limits>

namespace r1 {
namespace {

constexpr std::int64_t kMinGroups = 40;

void add(AuditMoments& a, const AuditMoments& b) { a.sum += b.sum, a.squares += b.squares; }

struct Change {
  double from = 0, to = 0, z = 0;
  double rise() const { return to - from; }
};

double error_squared(const AuditMoments& m, double n) {
  const double mean = m.sum / n;
  return std::max(0.0, m.squares - n * mean * mean) / (n - 1) / n;
}

Change change(const AuditMoments& old, std::int64_t old_n, const AuditMoments& recent, std::int64_t recent_n) {
  const auto a = static_cast<double>(old_n), b = static_cast<double>(recent_n);
  Change c{old.sum / a, recent.sum / b, 0};
  const double error = std::sqrt(error_squared(old, a) + error_squared(recent, b));
  // Rounding leaves less than 1e-9 of equal values; without spread any real difference is sure.
  if (std::fabs(c.rise()) > 1e-9) c.z = error > 1e-9 ? c.rise() / error : std::copysign(std::numeric_limits<double>::infinity(), c.rise());
  return c;
}

}  // namespace

void AuditSums::add_group(double claim_mean, double accuracy_mean, double reward_mean) {
  ++groups;
  claim.add(claim_mean);
  accuracy.add(accuracy_mean);
  behind.add(claim_mean / 2 - accuracy_mean);
  reward.add(reward_mean);
}

void AuditSums::add(const AuditSums& o) {
  groups += o.groups;
  r1::add(claim, o.claim);
  r1::add(accuracy, o.accuracy);
  r1::add(behind, o.behind);
  r1::add(reward, o.reward);
}

bool AuditWatch::window_before(std::size_t end, Window& out) const {
  out = {end, end, {}};
  while (out.begin > 0 && (out.end - out.begin < static_cast<std::size_t>(options_.window) || out.sums.groups < kMinGroups))
    out.sums.add(rollouts_[--out.begin]);
  return out.end - out.begin >= static_cast<std::size_t>(options_.window) && out.sums.groups >= kMinGroups;
}

bool AuditWatch::window_from(std::size_t begin, Window& out) const {
  out = {begin, begin, {}};
  while (out.end < rollouts_.size() && (out.end - out.begin < static_cast<std::size_t>(options_.window) || out.sums.groups < kMinGroups))
    out.sums.add(rollouts_[out.end++]);
  return out.end - out.begin >= static_cast<std::size_t>(options_.window) && out.sums.groups >= kMinGroups;
}

AuditAlarm AuditWatch::compare(const Window& old, const Window& recent) const {
  const auto of = [&](AuditMoments AuditSums::* m) { return change(old.sums.*m, old.sums.groups, recent.sums.*m, recent.sums.groups); };
  const Change claim = of(&AuditSums::claim), accuracy = of(&AuditSums::accuracy), behind = of(&AuditSums::behind),
               reward = of(&AuditSums::reward);
  AuditAlarm out;
  if (claim.rise() >= options_.min_rise && claim.z >= options_.sigmas && behind.z >= options_.sigmas) out.kind = "unearned";
  else if (reward.z >= options_.sigmas && -accuracy.rise() >= options_.min_rise && -accuracy.z >= options_.sigmas) out.kind = "traded";
  out.on = !out.kind.empty();
  if (!out.on) return out;
  char text[400];
  std::snprintf(text, sizeof text,
                "the reward went from %.3f to %.3f and what it claims from %.3f to %.3f, but audited accuracy from %.3f to %.3f "
                "(audited rollouts %zu-%zu against %zu-%zu, %lld and %lld prompts)",
                reward.from, reward.to, claim.from, claim.to, accuracy.from, accuracy.to, recent.begin, recent.end - 1, old.begin,
                old.end - 1, static_cast<long long>(recent.sums.groups), static_cast<long long>(old.sums.groups));
  out.text = text;
  return out;
}

AuditAlarm AuditWatch::add(const AuditSums& rollout) {
  if (rollout.groups > 0) rollouts_.push_back(rollout);
  Window recent, old;
  if (!window_before(rollouts_.size(), recent)) return {};
  for (std::size_t gap = 0;; gap = gap == 0 ? static_cast<std::size_t>(options_.window) : 2 * gap) {
    if (gap > recent.begin || !window_before(recent.begin - gap, old)) break;
    if (AuditAlarm alarm = compare(old, recent); alarm.on) return alarm;
  }
  if (window_from(0, old) && old.end <= recent.begin) return compare(old, recent);
  return {};
}

}  // namespace r1
