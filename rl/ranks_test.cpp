// Data-parallel training of a real (small) transformer as several processes: the same numbers as one process, sharding, checkpoints over
// other numbers of ranks, and what is left when a rank dies, stops or computes NaN.
#include <doctest/doctest.h>

#include <cmath>
#include <csignal>
#include <cstdio>
#include <limits>
#include <sstream>

#include "comm/ranks_test_support.h"
#include "core/error.h"
#include "rl/packing.h"
#include "rl/shard_plan.h"
#include "rl/stop_test_support.h"
#include "rl/transformer_run.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

using test::TransformerRun;
using test::TransformerRunOptions;

// Calls a function after each step.
struct AtStep : TrainObserver {
  std::function<void(const StepRecord&)> call;
  void on_step(const StepRecord& r) override { call(r); }
};

// Digest of the final weights, then loss and gradient norm of every step, exactly.
std::string train(TransformerRunOptions o, Session* session, const std::filesystem::path& folder = {}) {
  o.session = session;
  std::ostringstream numbers;
  AtStep log;
  log.call = [&](const StepRecord& r) {
    char text[128];
    for (const char* name : {"loss", "grad_norm", "reward", "mismatch/max_abs_logp", "kl"})
      if (const auto found = r.metrics.find(name); found != r.metrics.end()) {
        std::snprintf(text, sizeof text, " %a", found->second);
        numbers << text;
      }
    numbers << "\n";
  };
  TransformerRun run(o, folder, {&log});
  if (!folder.empty()) run.trainer->resume();
  run.trainer->run();
  return to_hex(run.policy->digest()) + "\n" + numbers.str();
}

std::string digest_line(const std::string& text) { return text.substr(0, text.find('\n')); }

std::vector<double> numbers_of(const std::string& text) {
  std::vector<double> out;
  const char* at = text.c_str() + text.find('\n');
  for (char* end = nullptr;; at = end) {
    const double v = std::strtod(at, &end);
    if (end == at) return out;
    out.push_back(v);
  }
}

TransformerRunOptions options() {
  TransformerRunOptions o = test::tiny_options();
  o.trainer.prompts_per_rollout = 5;  // uneven shares
  return o;
}

TransformerRunOptions wide_options() {
  TransformerRunOptions o = options();
  o.wide = true;
  o.trainer.steps = 3;
  o.grpo.loss.kl_coefficient = 0;
  return o;
}

void same_on_all(const std::vector<test::RankResult>& results, const std::string& want) {
  for (const auto& r : results) {
    CAPTURE(r.output);
    CHECK(r.status == 0);
    CHECK(r.output == want);
  }
}

}  // namespace

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
    TransformerRunOptions o = options();
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
  TransformerRunOptions o = options();
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
    TransformerRunOptions o = options();
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

TEST_CASE("kill -9 of one of three ranks at any step: the others name it, and the run resumes to the same weights") {
  TransformerRunOptions o = options();
  o.lanes = 4;
  o.trainer.steps = 6;
  o.trainer.save_every = 2;
  const std::string want = digest_line(test::run_ranks(3, [&](Session& s) { return train(o, &s); })[0].output);
  struct Kill { int rank; std::int64_t step; };
  for (const Kill k : {Kill{1, 1}, Kill{0, 3}, Kill{2, 5}}) {
    CAPTURE(k.rank);
    const test::TempDir dir;
    const auto body = [&](bool dies) {
      return [&, dies](Session& s) -> std::string {
        TransformerRunOptions mine = o;
        mine.session = &s;
        AtStep killer;
        killer.call = [&](const StepRecord& r) {
          if (dies && s.rank() == k.rank && r.step == k.step) kill(getpid(), SIGKILL);
        };
        TransformerRun run(mine, dir.path(), {&killer});
        run.trainer->resume();
        run.trainer->run();
        return to_hex(run.policy->digest());
      };
    };
    const auto results = test::run_ranks(3, body(true));
    for (int r = 0; r < 3; ++r) {
      if (r == k.rank) continue;
      CAPTURE(results[static_cast<std::size_t>(r)].output);
      CHECK(results[static_cast<std::size_t>(r)].status == 1);
      CHECK(results[static_cast<std::size_t>(r)].output.find(message("error: rank ", k.rank)) == 0);
    }
    same_on_all(test::run_ranks(3, body(false)), want);
  }
}

TEST_CASE("a rank whose gradient is NaN, whatever is sharded: its cause ends all ranks") {
  for (int zero : {0, 1, 2, 3}) {
    CAPTURE(zero);
    TransformerRunOptions o = options();
    o.zero = zero;
    const auto results = test::run_ranks(3, [&](Session& s) -> std::string {
      TransformerRunOptions mine = o;
      mine.session = &s;
      TransformerRun run(mine, {});
      auto& arena = dynamic_cast<TransformerPolicy&>(*run.policy).arena();
      // Poison: what this rank's backward pass adds to is not a number.
      struct Poison : TrainObserver {
        std::function<void()> call;
        void on_rollout_start(std::uint64_t rollout, std::int64_t) override { call(); }
      };
      int done = 0;
      Poison poison;
      poison.call = [&] { ++done; };
      run.trainer->add_observer(&poison);
      const auto hook = [&](std::int64_t begin, std::int64_t end) {
        if (s.rank() == 1 && done == 2 && begin == 0) arena.gradient()[3] = std::numeric_limits<float>::quiet_NaN();
        if (arena.gradient_is_sharded()) arena.gradient_ready(begin, end);
      };
      run.model->set_gradient_hook(hook);
      run.trainer->run();
      return "not reached";
    });
    for (const auto& r : results) {
      CAPTURE(r.output);
      CHECK(r.status == 1);
      CHECK(r.output.find("the gradient of model.embed_tokens.weight is ") != std::string::npos);
      CHECK(r.output.find("at element 3") != std::string::npos);
    }
    CHECK(results[0].output.find("error: rank 1 (process ") == 0);
  }
}

TEST_CASE("a rank that is stopped (SIGSTOP) in the middle of a rollout is lost, and said to be") {
  TransformerRunOptions o = options();
  SessionOptions session;
  session.silence_s = 4;
  test::ForkedRanks ranks(3, session, [&](Session& s) -> std::string {
    TransformerRunOptions mine = o;
    mine.session = &s;
    mine.trainer.steps = 100000;
    mine.trainer.save_every = 0;
    AtStep stop;
    stop.call = [&](const StepRecord& r) {
      if (s.rank() == 2 && r.step == 2) raise(SIGSTOP);
    };
    TransformerRun run(mine, {}, {&stop});
    run.trainer->run();
    return {};
  });
  int status = 0;
  waitpid(ranks.pid(2), &status, WUNTRACED);
  CHECK(WIFSTOPPED(status));
  usleep(6000000);
  kill(ranks.pid(2), SIGKILL);
  const auto results = ranks.results();
  for (int r : {0, 1}) {
    CAPTURE(results[static_cast<std::size_t>(r)].output);
    CHECK(results[static_cast<std::size_t>(r)].status == 1);
    CHECK(results[static_cast<std::size_t>(r)].output.find("error: rank 2 (process ") == 0);
    CHECK(results[static_cast<std::size_t>(r)].output.find("no sign of life for 4 s") != std::string::npos);
  }
}

TEST_CASE("a stop of one rank is one of all: each leaves at the same place, rank 0 has saved, and the run goes on to the same weights") {
  TransformerRunOptions o = options();
  o.lanes = 2;
  o.trainer.save_every = 0;
  const std::string want = digest_line(test::run_ranks(2, [&](Session& s) { return train(o, &s); })[0].output);
  const test::TempDir dir;
  const auto results = test::run_ranks(2, [&](Session& s) -> std::string {
    install_stop_signals();
    TransformerRunOptions mine = o;
    mine.session = &s;
    test::StopOfSecondRank stop(s.rank());
    TransformerRun run(mine, dir.path(), {&stop});
    run.trainer->run();
    return {};
  });
  for (const auto& r : results) {
    CAPTURE(r.output);
    CHECK(r.status == 130);
  }
  same_on_all(test::run_ranks(2, [&](Session& s) {
    TransformerRunOptions mine = o;
    mine.session = &s;
    TransformerRun run(mine, dir.path());
    const auto at = run.trainer->resume();
    R1_CHECK(at && *at >= 2 && *at < 6, "no checkpoint of the stop");
    run.trainer->run();
    return to_hex(run.policy->digest());
  }), want);
}

}  // namespace r1
