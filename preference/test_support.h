// Small preference sets and models for tests.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "core/rng.h"
#include "model/hf_directory.h"
#include "preference/preference_set.h"
#include "rl/transformer_policy.h"
#include "rl/value_model.h"

namespace r1::test {

inline TrainSample answer(std::uint64_t group, const std::vector<TokenId>& prompt, const std::vector<TokenId>& tokens) {
  TrainSample s;
  s.name = "row " + std::to_string(group);
  s.tokens = prompt;
  s.tokens.insert(s.tokens.end(), tokens.begin(), tokens.end());
  s.prompt_length = static_cast<std::int32_t>(prompt.size());
  s.group = group;
  s.loss_mask.assign(s.tokens.size(), 1);
  std::fill(s.loss_mask.begin(), s.loss_mask.begin() + s.prompt_length, std::uint8_t{0});
  s.behavior_logprobs.assign(s.tokens.size(), 0.f);
  s.advantages.assign(s.tokens.size(), 0.f);
  return s;
}

struct TokenPair {
  std::vector<TokenId> prompt, chosen, rejected;
};
inline PreferenceSet pair_set(const std::vector<TokenPair>& pairs) {
  PreferenceSet set;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    set.samples.push_back(answer(i, pairs[i].prompt, pairs[i].chosen));
    set.samples.push_back(answer(i, pairs[i].prompt, pairs[i].rejected));
  }
  return set;
}

// Prompts of a few tokens; the better answer has more of the even tokens, at equal length.
inline PreferenceSet toy_pairs(int n, std::uint64_t seed) {
  StreamRng rng(seed, 5);
  const auto draw = [&](int even_of_4) {
    std::vector<TokenId> out;
    for (int i = 0; i < 6; ++i) {
      const auto t = static_cast<TokenId>(2 + 2 * rng.below(22));
      out.push_back(static_cast<int>(rng.below(4)) < even_of_4 ? t : t + 1);
    }
    out.push_back(1);  // the end token
    return out;
  };
  std::vector<TokenPair> pairs;
  for (int i = 0; i < n; ++i) {
    std::vector<TokenId> prompt;
    for (std::uint64_t k = 0, size = 2 + rng.below(4); k < size; ++k) prompt.push_back(static_cast<TokenId>(2 + rng.below(46)));
    pairs.push_back({prompt, draw(4), draw(0)});
  }
  return pair_set(pairs);
}

// The tiny Llama of tests/golden/trl_tiny.
struct TinyModel {
  explicit TinyModel(DType dtype = DType::kF32, int threads = 1) : pool(threads), directory(R1_SOURCE_DIR "/tests/golden/trl_tiny") {
    model = std::make_unique<Transformer>(directory.config(), dtype, pool);
    directory.load_into(model->weights());
    model->weights_changed();
  }
  ComputePool pool;
  ModelDirectory directory;
  std::unique_ptr<Transformer> model;
};

}  // namespace r1::test
