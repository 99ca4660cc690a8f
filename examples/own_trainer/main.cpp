// A reward and a training loop of your own on r1's libraries: see README.md.
#include <algorithm>
#include <cstdio>
#include <numeric>

#include "core/rng.h"
#include "model/transformer.h"
#include "rewards/reward.h"
#include "rl/learner.h"
#include "rl/transformer_policy.h"
#include "rollout/local_engine.h"

namespace {

constexpr int kSteps = 40, kPrompts = 4, kSamples = 16, kTokens = 12, kVocabulary = 32;

// The share of the completion's tokens that are even.
class EvenTokens : public r1::RewardFunction {
 public:
  std::string_view name() const override { return "even_tokens"; }
  void score(const r1::SampleGroup& group, std::span<r1::RewardResult> out) const override {
    for (std::size_t i = 0; i < out.size(); ++i) {
      const auto& tokens = group.completions[i].tokens;
      const auto even = std::count_if(tokens.begin(), tokens.end(), [](r1::TokenId t) { return t % 2 == 0; });
      out[i].value = static_cast<float>(even) / static_cast<float>(std::max<std::size_t>(1, tokens.size()));
    }
  }
};

// Advantages by rank: -1 for the worst of a group, 1 for the best, however far they are apart; equal rewards share a rank.
std::vector<float> rank_advantages(std::span<const r1::RewardResult> results) {
  std::vector<float> out;
  for (const r1::RewardResult& r : results) {
    float below = 0, above = 0;
    for (const r1::RewardResult& other : results) below += *other.value < *r.value, above += *other.value > *r.value;
    out.push_back((below - above) / static_cast<float>(results.size() - 1));
  }
  return out;
}

r1::ModelConfig tiny_model() {
  r1::ModelConfig c;
  c.model_type = "qwen3", c.qk_norm = true, c.tie_word_embeddings = true;
  c.hidden_size = 64, c.num_hidden_layers = 2, c.num_attention_heads = 4, c.num_key_value_heads = 2, c.head_dim = 16;
  c.intermediate_size = 128, c.vocab_size = kVocabulary, c.max_position_embeddings = 64;
  return c;
}

r1::RolloutRequest request(std::uint64_t step, std::uint32_t index) {
  r1::StreamRng rng(7, step * kPrompts + index);
  r1::RolloutRequest out;
  out.prompt.id = std::to_string(step) + "." + std::to_string(index);
  for (int t = 0; t < 5; ++t) out.prompt.tokens.push_back(static_cast<r1::TokenId>(rng.below(kVocabulary)));
  out.samples = kSamples;
  out.sampling.max_new_tokens = kTokens;
  out.key = {.seed = 7, .step = step, .prompt = index};
  return out;
}

r1::TrainSample train_sample(const r1::Prompt& prompt, const r1::Completion& c, std::uint64_t group, float advantage) {
  r1::TrainSample s;
  const std::size_t p = prompt.tokens.size(), n = c.tokens.size();
  s.name = prompt.id;
  s.tokens = prompt.tokens;
  s.tokens.insert(s.tokens.end(), c.tokens.begin(), c.tokens.end());
  s.prompt_length = static_cast<std::int32_t>(p);
  s.group = group;
  s.loss_mask.assign(p + n, 0), s.behavior_logprobs.assign(p + n, 0.f), s.advantages.assign(p + n, 0.f);
  for (std::size_t t = 0; t < n; ++t) s.loss_mask[p + t] = 1, s.behavior_logprobs[p + t] = c.logprobs[t], s.advantages[p + t] = advantage;
  return s;
}

double train() {
  r1::ComputePool pool(1);
  r1::Transformer model(tiny_model(), r1::DType::kF32, pool);
  r1::init_random(model.weights(), 1, 0.1f);
  model.weights_changed();
  r1::TransformerPolicy policy(model);  // shares the weights with the engine
  r1::LocalEngineOptions engine_options;
  engine_options.kv_cache_bytes = 8 << 20;
  r1::LocalEngine engine(model, nullptr, engine_options);
  r1::GrpoOptions options;
  options.length_budget = kTokens;
  options.optimizer.learning_rate.peak = 3e-3;
  options.exact = true;  // the sampler's log-probabilities are the learner's, to the bit
  r1::GrpoLearner learner(policy, nullptr, options);
  const EvenTokens reward;

  double mean = 0;
  for (std::uint64_t step = 0; step < kSteps; ++step) {
    engine.load_weights(learner.publish());
    std::vector<r1::RolloutRequest> requests;
    for (std::uint32_t i = 0; i < kPrompts; ++i) requests.push_back(request(step, i));
    const std::vector<r1::SampleGroup> groups = r1::generate(engine, std::move(requests));
    std::vector<r1::TrainSample> samples;
    mean = 0;
    for (std::size_t g = 0; g < groups.size(); ++g) {
      std::vector<r1::RewardResult> results(groups[g].completions.size());
      reward.score(groups[g], results);
      const std::vector<float> advantages = rank_advantages(results);
      for (std::size_t i = 0; i < results.size(); ++i) {
        mean += *results[i].value / (kPrompts * kSamples);
        samples.push_back(train_sample(groups[g].prompt, groups[g].completions[i], g, advantages[i]));
      }
    }
    learner.begin_rollout(std::move(samples), step);
    while (!learner.rollout_done()) learner.update();
    if (step % 10 == 0 || step + 1 == kSteps) std::printf("step %2d  reward %.3f\n", static_cast<int>(step), mean);
  }
  return mean;
}

}  // namespace

int main() {
  try {
    return train() > 0.9 ? 0 : 1;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "own_trainer: error: %s\n", e.what());
    return 1;
  }
}
