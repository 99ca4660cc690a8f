// What one update did with a token, for people who look at it later.
#pragma once

#include <cstdint>

namespace r1 {

struct TokenTrace {
  std::int32_t sample = 0, position = 0;  // of the learner's samples; of the sample's tokens
  float logprob = 0;                      // nats under the policy that was differentiated
  float old_logprob = 0;                  // nats under the policy that its ratio is to; equal to logprob where that is the policy itself
  float advantage = 0;                    // final: whitened, with KL in the reward, ...
  float gradient = 0;                     // d loss / d logprob of the update
  float kl = 0;                           // the estimator's value; 0 without a reference
  std::uint8_t clipped = 0;               // 1 = below the region, 2 = above it, on the side where the clip acts
};

}  // namespace r1
