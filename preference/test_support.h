// Small preference sets and models for tests.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

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
