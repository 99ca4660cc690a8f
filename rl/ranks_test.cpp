// Data-parallel training of a real (small) transformer as several processes: the same numbers as one process, checkpoints over other numbers
// of ranks.
#include <doctest/doctest.h>

#include <cmath>

#include "core/error.h"
#include "rl/ranks_run.h"
#include "tests/support/support.h"

namespace r1 {

using namespace test;

TEST_CASE("lanes cover the samples once, in order, groups whole where they can be") {
  std::vector<TrainSample> samples(10);
  for (std::size_t i = 0; i < 10; ++i) samples[i].group = i / 2, samples[i].tokens.resize(1 + i % 3);
  std::vector<std::int32_t> all = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  for (int lanes : {1, 2, 3, 4, 7, 12}) {
    std::vector<std::int32_t> seen;
    for (const auto& lane : split_lanes(samples, all, lanes)) {
      if (lanes <= 5 && !lane.empty()) CHECK(lane.front() % 2 == 0);
      seen.insert(seen.end(), lane.begin(), lane.end());
    }
    CHECK(seen == all);
  }
}

TEST_CASE("GRPO with four lanes: the same bits on 1, 2, 3 (uneven) and 4 ranks, weights and metrics") {
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    TransformerRunOptions o = rank_options();
    o.dtype = dtype;
    o.lanes = 4;
    const std::string want = train(o, nullptr);
    for (int world : {2, 4}) {
      CAPTURE(world);
      same_on_all(test::run_ranks(world, [&](Session& s) { return train(o, &s); }), want);
    }
    // Three ranks hold lanes 0-1, 2, 3: another tree, equal on all ranks, near to the others.
    const auto three = test::run_ranks(3, [&](Session& s) { return train(o, &s); });
    same_on_all(three, three[0].output);
  }
}

TEST_CASE("as many lanes as ranks: the gradient of one process up to rounding, the same bits on all ranks") {
  TransformerRunOptions o = rank_options();
  o.dtype = DType::kF32;
  o.trainer.steps = 2;
  const std::vector<double> want = numbers_of(train(o, nullptr));
  for (int world : {2, 4}) {
    const auto results = test::run_ranks(world, [&](Session& s) { return train(o, &s); });
    same_on_all(results, results[0].output);
    const std::vector<double> got = numbers_of(results[0].output);
    REQUIRE(got.size() == want.size());
    for (std::size_t i = 0; i < got.size(); ++i) CHECK(std::abs(got[i] - want[i]) <= 2e-6 * std::max(1.0, std::abs(want[i])));
  }
}

TEST_CASE("LoRA, PPO with a critic, dynamic sampling: the same bits on one rank and on two") {
  for (int kind : {0, 1, 2}) {
    CAPTURE(kind);
    TransformerRunOptions o = rank_options();
    o.lanes = 2;
    o.trainer.steps = 4;
    if (kind == 0) o.lora = true;
    if (kind == 1) {
      o.grpo.kl_in_reward = 0.05;
      o.grpo.whiten_advantages = true;
      o.grpo.critic.emplace();
      o.grpo.critic->optimizer.learning_rate.peak = 5e-3;
      o.grpo.critic->warmup = 1;
      o.trainer.train_samples.advantage.kind = AdvantageKind::kGae;
    }
    if (kind == 2) o.trainer.dynamic = {true, 3, 1.3};
    const std::string want = train(o, nullptr);
    for (int zero : {0, 1}) {
      o.zero = zero;
      same_on_all(test::run_ranks(2, [&](Session& s) { return train(o, &s); }), want);
    }
  }
}
TEST_CASE("a checkpoint of any number of ranks goes on on any other, bit for bit") {
  TransformerRunOptions o = wide_options();
  o.lanes = 4;
  o.grpo.tokens_per_micro_batch = 10'000;  // so that four ranks that shard gradients add in the same order
  o.trainer.steps = 4;
  o.trainer.save_every = 1;
  const std::string want = digest_line(train(o, nullptr));
  const auto run_on = [&](int world, std::int64_t steps, int zero, const std::filesystem::path& folder) {
    TransformerRunOptions mine = o;
    mine.trainer.steps = steps;
    mine.zero = zero;
    if (world == 1) return digest_line(train(mine, nullptr, folder));
    const auto results = test::run_ranks(world, [&](Session& s) { return train(mine, &s, folder); });
    for (const auto& r : results) {
      CAPTURE(r.output);
      CHECK(r.status == 0);
    }
    return digest_line(results[0].output);
  };
  struct Hop { int world, zero; };
  for (const auto& hops : {std::vector<Hop>{{4, 1}, {1, 0}}, {{4, 2}, {2, 1}}, {{1, 0}, {4, 1}}, {{2, 1}, {4, 0}}, {{4, 3}, {1, 0}}, {{4, 3}, {2, 1}}, {{2, 1}, {4, 3}}, {{4, 3}, {2, 3}}}) {
    CAPTURE(hops[0].zero);
    CAPTURE(hops[1].zero);
    const test::TempDir dir;
    // Step 3 is inside a rollout: what was fixed at its start travels too.
    run_on(hops[0].world, 3, hops[0].zero, dir.path());
    const std::string got = run_on(hops[1].world, 4, hops[1].zero, dir.path());
    if (hops[1].world == 2 && hops[1].zero >= 2) CHECK(got.size() == 32);  // its passes are of two lanes at a time: another order
    else CHECK(got == want);
  }
}
}  // namespace r1
