// Every family: what the engine samples has the bits of the learner's evaluation, in small pools with preemption; the experts that it
// reports are those of the learner, and replaying them changes nothing.
#include <doctest/doctest.h>

#include <algorithm>

#include "core/error.h"

#include "model/golden_model.h"
#include "rollout/engine_test_support.h"

namespace r1::test {
namespace {

RolloutRequest family_request(std::uint64_t number, int prompt_length, std::int64_t vocabulary) {
  RolloutRequest r = request(number, prompt_length, 4, 21, number % 2 == 0 ? 1.f : 0.7f);
  for (TokenId& t : r.prompt.tokens) t = static_cast<TokenId>(t % vocabulary);
  r.sampling.want_experts = true;
  r.sampling.ignore_eos = true;
  return r;
}

PackedBatch batch_of(const std::vector<TokenId>& prompt, const std::vector<TokenId>& completion) {
  PackedBatch batch;
  std::vector<TokenId> all = prompt;
  all.insert(all.end(), completion.begin(), completion.end());
  for (std::size_t i = 0; i + 1 < all.size(); ++i) {
    batch.tokens.push_back(all[i]);
    batch.positions.push_back(static_cast<std::int32_t>(i));
    if (i + 1 < prompt.size()) continue;
    batch.predictors.push_back(static_cast<std::int32_t>(i));
    batch.targets.push_back(all[i + 1]);
  }
  batch.sequences.push_back({0, static_cast<std::int32_t>(batch.tokens.size()), -1, -1});
  return batch;
}

}  // namespace

TEST_CASE("all families: rollout and learner agree to the bit, experts included") {
  int with_experts = 0;
  for (const std::string& family : all_golden_families()) {
    CAPTURE(family);
    const GoldenModel golden(family);
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      ComputePool pool(2);
      Transformer model(golden.model.config(), dtype, pool);
      golden.model.load_into(model.weights());
      model.weights_changed();
      std::vector<RolloutRequest> requests;
      for (std::uint64_t i = 0; i < 4; ++i) requests.push_back(family_request(i, 3 + static_cast<int>(i) * 9, model.config().vocab_size));
      LocalEngineOptions options = small_engine(model, 12);
      options.prefill_tokens_per_step = 10;
      LocalEngine engine(model, nullptr, options);
      std::vector<std::vector<Completion>> groups = run(engine, requests);
      CHECK(engine.stats().preemptions > 0);
      for (std::size_t i = 0; i < groups.size(); ++i)
        for (const Completion& c : groups[i]) {
          PackedBatch batch = batch_of(requests[i].prompt.tokens, c.tokens);
          const float temperature = requests[i].sampling.temperature;
          std::vector<std::uint16_t> experts;
          CHECK(c.logprobs == model.evaluate_experts(batch, temperature, experts).logprobs);
          CHECK(c.experts == experts);
          if (experts.empty()) continue;
          ++with_experts;
          batch.experts = experts;
          CHECK(c.logprobs == model.evaluate(batch, temperature, false).logprobs);
          // Other experts are really met: the last row's first one is replaced.
          const auto choices = static_cast<std::size_t>(model.expert_choices());
          std::uint16_t* last = batch.experts.data() + batch.experts.size() - choices;
          const auto k = static_cast<std::size_t>(model.config().moe->experts_per_token);
          for (std::uint16_t e = 0; e < model.config().moe->num_experts; ++e)
            if (std::find(last, last + k, e) == last + k) {
              last[0] = e;
              break;
            }
          CHECK(c.logprobs.back() != model.evaluate(batch, temperature, false).logprobs.back());
        }
    }
  }
  CHECK(with_experts > 100);
}

TEST_CASE("speculative decoding by the prediction layer: the same completions to the bit, guesses come true, in small pools too") {
  const GoldenModel golden("tiny-v3-mtp");
  REQUIRE(golden.model.config().num_mtp_layers == 1);
  for (const DType dtype : {DType::kF32, DType::kBF16})
    for (const int blocks : {200, 12}) {
      CAPTURE(blocks);
      std::vector<std::vector<Completion>> results[2];
      EngineStats stats[2];
      for (const bool speculative : {false, true}) {
        ComputePool pool(2);
        Transformer model(golden.model.config(), dtype, pool);
        golden.model.load_into(model.weights());
        model.weights_changed();
        std::vector<RolloutRequest> requests;
        for (std::uint64_t i = 0; i < 6; ++i) {
          requests.push_back(family_request(i, 3 + static_cast<int>(i) * 9, model.config().vocab_size));
          requests.back().sampling.max_new_tokens = 40;
          requests.back().sampling.ignore_eos = i % 2 == 0;
          requests.back().sampling.temperature = i < 2 ? 0.f : 0.8f;
        }
        LocalEngineOptions options = small_engine(model, blocks);
        options.speculative = speculative;
        options.prefill_tokens_per_step = 10;
        if (speculative) {
          // A block has one more layer; the pool keeps its number of blocks.
          Transformer twin(golden.model.config(), dtype, pool);
          twin.keep_drafting_state();
          options.kv_cache_bytes = options.kv_cache_bytes / static_cast<std::int64_t>(model.kv_block_bytes()) * static_cast<std::int64_t>(twin.kv_block_bytes());
        }
        LocalEngine engine(model, nullptr, options);
        results[speculative] = run(engine, requests);
        stats[speculative] = engine.stats();
      }
      REQUIRE(results[0].size() == results[1].size());
      for (std::size_t i = 0; i < results[0].size(); ++i)
        for (std::size_t k = 0; k < results[0][i].size(); ++k) {
          CHECK(results[0][i][k].tokens == results[1][i][k].tokens);
          CHECK(results[0][i][k].logprobs == results[1][i][k].logprobs);
          CHECK(results[0][i][k].experts == results[1][i][k].experts);
        }
      CHECK(stats[0].drafted_tokens == 0);
      CHECK(stats[1].drafted_tokens > 300);
      CHECK(stats[1].accepted_tokens > 0);
      CHECK(stats[1].generated_tokens == stats[0].generated_tokens);
      if (blocks == 200) CHECK(stats[1].decode_steps <= stats[0].decode_steps);  // the slowest sample decides
      else CHECK(stats[1].preemptions > 0);
      MESSAGE(stats[1].accepted_tokens, " of ", stats[1].drafted_tokens, " guesses of an untrained layer accepted; steps ", stats[0].decode_steps, " -> ",
              stats[1].decode_steps);
    }
  const GoldenModel without("tiny-v3");
  ComputePool pool(1);
  Transformer model(without.model.config(), DType::kF32, pool);
  LocalEngineOptions options = small_engine(model, 12);
  options.speculative = true;
  CHECK_THROWS_AS(LocalEngine(model, nullptr, options), ConfigError);
}

TEST_CASE("latent attention keeps the latent and the rotary key of a position, nothing more") {
  const GoldenModel v3("tiny-v3");
  ComputePool pool(1);
  const Transformer model(v3.model.config(), DType::kBF16, pool);
  const ModelConfig& c = model.config();
  CHECK(c.kv_values_per_token() == c.num_hidden_layers * (24 + 8));
  // Blocks of 16 positions: the latents in bfloat16, then four experts of the one layer that has them.
  const std::size_t latents = 16 * 2 * static_cast<std::size_t>(c.kv_values_per_token()), experts = 16 * 2 * 4;
  CHECK(model.kv_block_bytes() == latents + experts);
}

}  // namespace r1::test
