#include "rl/expert_balance.h"

#include <vector>

namespace r1 {

void finish_experts(PolicyModel& policy, double bias_speed, const Ranks& ranks, std::map<std::string, double>& metrics) {
  ExpertLoad load = policy.take_expert_load();
  if (load.layers > 0) {
    std::vector<std::int64_t> mine = load.tokens;
    mine.push_back(load.dropped);
    std::vector<std::int64_t> sum(mine.size(), 0);
    for (const std::string& bytes : ranks.gather(bytes_of(std::span<const std::int64_t>(mine)), "the experts' loads")) {
      const std::vector<std::int64_t> one = values_of<std::int64_t>(bytes);
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += one.at(i);
    }
    load.dropped = sum.back();
    sum.pop_back();
    load.tokens = std::move(sum);
    metrics["moe/load_max_over_mean"] = load.max_over_mean();
    metrics["moe/dropped"] = static_cast<double>(load.dropped);
    if (const double loss = policy.take_balance_loss(); loss != 0) metrics["moe/balance_loss"] = loss;
  }
  if (bias_speed != 0) policy.update_correction_biases(load, bias_speed);
}

}  // namespace r1
