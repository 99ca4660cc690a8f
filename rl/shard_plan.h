// What a rank of a run on the CPU keeps in memory of weights, optimizer and gradient, by what is sharded (docs/distributed.md). Activations
// are rl/activation_plan.h's.
#pragma once

#include <cstdint>
#include <string>

#include "model/transformer.h"

namespace r1 {

struct Share {
  int rank = 0, ranks = 1, zero = 0;
};

// Bytes. Whole pages count, so a rank may have a page more or less where stretches meet.
struct ShardPlan {
  std::int64_t weights = 0;       // live, between passes
  std::int64_t weights_pass = 0;  // live, at most, in the forward and backward pass of an update
  std::int64_t weights_all = 0;   // live, while all are needed: rollouts, evaluations, checkpoints
  std::int64_t packed_pass = 0;   // their packed forms at most in an update, forwards and backwards
  std::int64_t packed_all = 0;    // forwards, in a rollout
  std::int64_t master = 0, moments = 0;
  std::int64_t gradient = 0;      // at most
  std::int64_t update() const { return weights_pass + packed_pass + master + moments + gradient; }
  std::int64_t rollout() const { return weights_all + packed_all + master + moments + (gradient_stays ? gradient : 0); }
  bool gradient_stays = true;     // also between updates
  std::string line(const Share& share) const;  // for people
};

// Of all parameters trained; packed forms as large as what they are made of.
ShardPlan plan_shards(const Transformer& model, const Share& share);

}  // namespace r1
