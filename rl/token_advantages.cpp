#include "rl/token_advantages.h"

#include <cmath>

#include "core/error.h"

namespace r1 {

void add_kl_to_advantages(std::span<TrainSample> samples, std::span<const std::vector<float>> ref_logprobs,
                          double beta) {
  R1_CHECK(samples.size() == ref_logprobs.size(), samples.size(), " samples, ", ref_logprobs.size(),
           " reference vectors");
  for (std::size_t i = 0; i < samples.size(); ++i) {
    TrainSample& s = samples[i];
    double to_go = 0;
    for (std::size_t t = s.tokens.size(); t-- > 0;) {
      if (!s.loss_mask[t]) continue;
      to_go -= beta * (double{s.behavior_logprobs[t]} - ref_logprobs[i][t]);
      s.advantages[t] = static_cast<float>(s.advantages[t] + to_go);
    }
  }
}

void whiten_advantages(std::span<TrainSample> samples, double epsilon) {
  double sum = 0, squares = 0, n = 0;
  const auto each = [&](auto&& visit) {
    for (TrainSample& s : samples)
      for (std::size_t t = 0; t < s.tokens.size(); ++t)
        if (s.loss_mask[t]) visit(s.advantages[t]);
  };
  bool equal = true;
  float first = 0;
  each([&](float a) {
    if (n == 0) first = a;
    equal = equal && a == first;
    sum += a;
    n += 1;
  });
  if (n == 0) return;
  const double mean = sum / n;
  each([&](float a) { squares += (a - mean) * (a - mean); });
  const double std = n > 1 ? std::sqrt(squares / (n - 1)) : 0;
  each([&](float& a) { a = equal ? 0.f : static_cast<float>((a - mean) / (std + epsilon)); });
}

}  // namespace r1
