// Coefficients that follow a measurement from update to update. Values; a checkpoint keeps them.
#pragma once

namespace r1 {

// Adaptive entropy bonus (Skywork-OR1, arXiv:2505.22312): after each update the coefficient grows by `step` if the entropy was at
// most `target` nats, else falls by it, never below 0. It is applied only while the entropy last measured is at most the target;
// before the first measurement it is not.
struct AdaptiveEntropy {
  bool enabled = false;
  double target = 0.2, step = 0.005;  // nats; the start is entropy_coefficient

  struct State { double coefficient = 0, last_entropy = 1e300; };
  double applied(const State& s) const { return s.last_entropy <= target ? s.coefficient : 0; }
  void observe(State& s, double entropy) const {
    s.last_entropy = entropy;
    s.coefficient += entropy <= target ? step : -step;
    if (s.coefficient < 0) s.coefficient = 0;
  }
};

// Adaptive KL coefficient of PPO (arXiv:1909.08593): beta <- beta (1 + clip(KL / target - 1, +-0.2) n / horizon), after a rollout
// of n answers with mean KL per token (k1, nats).
struct AdaptiveKl {
  double target = 0;       // nats; 0 = beta stays
  double horizon = 10000;  // answers

  double next(double beta, double kl, double answers) const {
    if (target <= 0) return beta;
    const double error = kl / target - 1;
    return beta * (1 + (error > 0.2 ? 0.2 : error < -0.2 ? -0.2 : error) * answers / horizon);
  }
};

}  // namespace r1
