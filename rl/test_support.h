// Small worlds for the tests of rl/: a table policy, rollouts from it, a reward known by heart.
#pragma once

#include <string>
#include <vector>

#include "core/compute_pool.h"
#include "core/types.h"
#include "rl/table_policy.h"
#include "rl/train_samples.h"

namespace r1::test {

inline Prompt make_prompt(const std::string& id, std::vector<TokenId> tokens, const std::string& reference = "") {
  Prompt p;
  p.id = id;
  p.tokens = std::move(tokens);
  p.reference = reference;
  return p;
}

// A sample with given lengths, all completion tokens trained; tokens drawn from (seed).
inline TrainSample make_sample(std::uint64_t group, const std::vector<TokenId>& prompt, int completion, float advantage,
                               std::int32_t vocab, std::uint64_t seed) {
  StreamRng rng(seed, group);
  TrainSample s;
  s.name = "g" + std::to_string(group) + "/" + std::to_string(seed);
  s.tokens = prompt;
  s.prompt_length = static_cast<std::int32_t>(prompt.size());
  s.group = group;
  for (int i = 0; i < completion; ++i)
    s.tokens.push_back(static_cast<TokenId>(rng.below(static_cast<std::uint64_t>(vocab))));
  const std::size_t t = s.tokens.size();
  s.loss_mask.assign(t, 0);
  s.behavior_logprobs.assign(t, 0.f);
  s.advantages.assign(t, 0.f);
  for (std::size_t i = prompt.size(); i < t; ++i) {
    s.loss_mask[i] = 1;
    s.behavior_logprobs[i] = static_cast<float>(-0.5 - 2 * rng.uniform());
    s.advantages[i] = advantage;
  }
  return s;
}

// `groups` groups of `size` samples of varied length over one vocabulary.
inline std::vector<TrainSample> make_samples(int groups, int size, std::int32_t vocab, std::uint64_t seed = 1) {
  std::vector<TrainSample> out;
  StreamRng rng(seed, 99);
  for (int g = 0; g < groups; ++g) {
    std::vector<TokenId> prompt;
    for (std::uint64_t i = 0, n = 2 + rng.below(5); i < n; ++i)
      prompt.push_back(static_cast<TokenId>(rng.below(static_cast<std::uint64_t>(vocab))));
    for (int k = 0; k < size; ++k)
      out.push_back(make_sample(static_cast<std::uint64_t>(g), prompt, 1 + static_cast<int>(rng.below(7)),
                                static_cast<float>(2 * rng.uniform() - 1), vocab,
                                seed * 1000 + static_cast<std::uint64_t>(k)));
  }
  return out;
}

}  // namespace r1::test
