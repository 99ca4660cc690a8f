// Sharded optimizer state, gradients and weights (train.zero): the numbers of one process, and the memory that was planned.
#include <doctest/doctest.h>

#include <cmath>

#include "core/error.h"
#include "rl/packing.h"
#include "rl/ranks_run.h"
#include "rl/shard_plan.h"
#include "tests/support/support.h"

namespace r1 {

using namespace test;

TEST_CASE("ZeRO: the same numbers as one process, and memory a rank as planned") {
  TransformerRunOptions o = wide_options();
  o.lanes = 4;
  const std::string want = train(o, nullptr);
  std::string of_two;
  for (int zero : {0, 1, 2, 3}) {
    CAPTURE(zero);
    o.zero = zero;
    const auto results = test::run_ranks(4, [&](Session& s) {
      TransformerRunOptions mine = o;
      mine.session = &s;
      std::string numbers = train(o, &s);
      // The memory that a run's arrays take between updates, as the kernel counts pages.
      TransformerRun run(mine, {});
      run.trainer->run();
      auto& policy = dynamic_cast<TransformerPolicy&>(*run.policy);
      policy.zero_gradient();
      const ParameterArena::Resident r = policy.arena().resident();
      const auto n = static_cast<double>(run.model->weights().elements());
      const double share = zero >= 1 ? 0.25 : 1.0;
      // One piece of a partition more or less, and a page.
      const double piece = static_cast<double>(Partition::kPiece) * 4 + 8192;
      R1_CHECK(std::abs(static_cast<double>(r.master) - share * n * 4) <= piece, "master ", r.master, " of ", n * 4);
      R1_CHECK(std::abs(static_cast<double>(r.moments) - share * n * 8) <= 2 * piece, "moments ", r.moments, " of ", n * 8);
      if (zero == 3) R1_CHECK(std::abs(static_cast<double>(r.live) - share * n * 2) <= piece, "live ", r.live, " of ", n * 2);
      if (zero >= 2) R1_CHECK(r.gradient <= piece, "gradient ", r.gradient);
      return numbers;
    });
    for (const auto& r : results) {
      CAPTURE(r.output);
      CHECK(r.status == 0);
      CHECK(r.output == results[0].output);
    }
    if (zero < 2) {
      CHECK(results[0].output == want);
      continue;
    }
    // Its passes are added over the ranks one by one: another order, the same for sharded weights.
    if (zero == 2) of_two = results[0].output;
    CHECK(results[0].output == of_two);
    const std::vector<double> a = numbers_of(want), b = numbers_of(results[0].output);
    REQUIRE(a.size() == b.size());
    for (std::size_t i = 0; i < a.size(); ++i) CHECK(std::abs(a[i] - b[i]) <= 2e-3 * std::max(1.0, std::abs(a[i])));
  }
}

TEST_CASE("ZeRO 2 never holds the whole gradient: at most a layer and the rank's share") {
  TransformerRunOptions o = wide_options();
  o.zero = 2;
  o.trainer.steps = 1;
  const auto results = test::run_ranks(2, [&](Session& s) {
    TransformerRunOptions mine = o;
    mine.session = &s;
    TransformerRun run(mine, {});
    auto& policy = dynamic_cast<TransformerPolicy&>(*run.policy);
    std::size_t most = 0, layer = 0;
    for (const auto& [begin, end] : run.model->gradient_stretches()) layer = std::max(layer, static_cast<std::size_t>(end - begin) * 4);
    run.model->set_gradient_hook([&](std::int64_t begin, std::int64_t end) {
      most = std::max(most, policy.arena().resident().gradient);
      policy.arena().gradient_ready(begin, end);
    });
    run.trainer->run();
    const auto n = static_cast<std::size_t>(run.model->weights().elements()) * 4;
    R1_CHECK(most > 0 && most <= n / 2 + 2 * layer + (std::size_t{1} << 19), "gradient ", most, " of ", n, ", a layer ", layer);
    R1_CHECK(most < n, "gradient ", most, " of ", n);
    return std::string("ok");
  });
  same_on_all(results, "ok");
}

TEST_CASE("with one micro-batch a lane every level of ZeRO has the same bits, in shares that are uneven too") {
  for (const DType dtype : {DType::kBF16, DType::kF32})
    for (const int world : {3, 4}) {
      CAPTURE(world);
      TransformerRunOptions o = wide_options();
      o.dtype = dtype;
      o.trainer.steps = 4;
      o.grpo.tokens_per_micro_batch = 10'000;
      o.grpo.loss.kl_coefficient = 0.02;  // a reference that is refreshed from the weights
      o.trainer.eval_every = 2, o.trainer.eval.sampling = o.trainer.sampling;
      std::string want;
      for (int zero : {0, 1, 2, 3}) {
        CAPTURE(zero);
        o.zero = zero;
        const auto results = test::run_ranks(world, [&](Session& s) { return train(o, &s); });
        if (zero == 0) want = results[0].output;
        same_on_all(results, want);
      }
      // One process with as many lanes, where they are whole subtrees.
      o.zero = 0, o.lanes = world;
      if (world == 4) CHECK(train(o, nullptr) == want);
    }
}

TEST_CASE("ZeRO 3: what a rank holds at every layer of a pass, between updates and in a rollout is what the plan says") {
  const auto results = test::run_ranks(4, [](Session& s) -> std::string {
    TransformerRunOptions o = wide_options();
    o.zero = 3;
    o.session = &s;
    TransformerRun run(o, {});
    run.trainer->run();
    auto& policy = dynamic_cast<TransformerPolicy&>(*run.policy);
    ParameterArena& arena = policy.arena();
    const ShardPlan plan = plan_shards(*run.model, {s.rank(), s.world(), 3});
    constexpr std::int64_t kSlack = 10 * 4096;  // stretches meet inside pages
    const auto near = [&](const char* what, std::size_t got, std::int64_t wanted) {
      R1_CHECK(std::abs(static_cast<std::int64_t>(got) - wanted) <= kSlack + wanted / 20, what, ": ", got, " bytes, planned ", wanted);
    };
    policy.make_whole();
    near("weights of a rollout", arena.resident().live, plan.weights_all);
    policy.zero_gradient();
    near("weights between passes", arena.resident().live, plan.weights);
    near("master", arena.resident().master, plan.master);
    near("moments", arena.resident().moments, plan.moments);
    R1_CHECK(plan.weights * 3 < plan.weights_all && plan.weights_pass < plan.weights_all * 3 / 4, "a plan of ", plan.weights, ", ", plan.weights_pass);
    std::size_t live = 0, packed = 0, gradient = 0;
    const auto look = [&] {
      const ParameterArena::Resident r = arena.resident();
      live = std::max(live, r.live), gradient = std::max(gradient, r.gradient), packed = std::max(packed, run.model->packed_bytes());
    };
    run.model->set_weight_gate({[&](std::int64_t begin, std::int64_t end) { arena.fetch(begin, end); },
                                [&](std::int64_t begin, std::int64_t end) {
                                  look();
                                  arena.release(begin, end);
                                }});
    run.model->set_gradient_hook([&](std::int64_t begin, std::int64_t end) {
      look();
      arena.gradient_ready(begin, end);
    });
    const MicroBatch batch = build_micro_batch(run.learner->samples(), std::vector<std::int32_t>{0, 1, 2});
    for (int pass = 0; pass < 2; ++pass) {  // the first fills the gradient's share
      const LogprobRows rows = policy.forward(batch.batch, 1.f, false);
      policy.backward(std::vector<float>(rows.logprobs.size(), 0.1f), {});
    }
    near("weights in a pass", live, plan.weights_pass);
    near("packed weights in a pass", packed, plan.packed_pass);
    near("gradient", gradient, plan.gradient);
    R1_CHECK(static_cast<std::int64_t>(live + packed + gradient) + plan.master + plan.moments <= plan.update() + 4 * kSlack, "more than planned");
    return "ok";
  });
  same_on_all(results, "ok");
}
}  // namespace r1
