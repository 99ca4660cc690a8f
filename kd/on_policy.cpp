#include "kd/on_policy.h"

#include <cmath>
#include <numeric>

#include "core/error.h"
#include "rl/packing.h"

namespace r1 {

std::function<void(std::vector<TrainSample>&)> teacher_advantages(ScoringModel& teacher, float temperature, std::int64_t budget, const Ranks* ranks) {
  const auto ask = [&teacher, temperature, budget](std::vector<TrainSample>& samples, std::span<const std::int32_t> chosen) {
    for (const auto& part : plan_micro_batches(samples, chosen, budget)) {
      const MicroBatch batch = build_micro_batch(samples, part);
      const LogprobRows rows = teacher.evaluate(batch.batch, temperature, false);
      for (std::size_t i = 0; i < batch.tokens.size(); ++i) {
        TrainSample& s = samples[static_cast<std::size_t>(batch.tokens[i].sample)];
        const auto t = static_cast<std::size_t>(batch.tokens[i].position);
        if (!std::isfinite(rows.logprobs[i]))
          throw NumericError(message("the teacher's log-probability of token ", t, " of ", s.name, " is ", rows.logprobs[i]));
        s.advantages[t] = rows.logprobs[i] - s.behavior_logprobs[t];
      }
    }
  };
  return [ask, several = ranks ? *ranks : Ranks()](std::vector<TrainSample>& samples) {
    std::vector<std::int32_t> all(samples.size());
    std::iota(all.begin(), all.end(), 0);
    const auto shares = several.shares(samples, all);
    several.agree("the teacher's advantages", [&] { ask(samples, shares[static_cast<std::size_t>(several.rank())]); });
    PerSample advantages(samples.size());
    for (std::size_t i = 0; i < samples.size(); ++i) advantages[i].swap(samples[i].advantages);
    several.gather_values(advantages, shares, "the teacher's advantages");
    for (std::size_t i = 0; i < samples.size(); ++i) advantages[i].swap(samples[i].advantages);
  };
}

void ReverseKlObserver::add_metrics(StepRecord& record) {
  double sum = 0, n = 0;
  for (const TrainSample& s : record.samples)
    for (std::size_t t = 0; t < s.tokens.size(); ++t)
      if (s.loss_mask[t]) sum -= s.advantages[t], n += 1;
  if (n > 0) record.metrics["distill/reverse_kl"] = sum / n;
}

}  // namespace r1
