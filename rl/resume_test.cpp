// Exact resume of a real (tiny) transformer with the real engine, in process and after SIGKILL of a child process.
#include <doctest/doctest.h>

#include <csignal>

#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "rl/transformer_run.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

using test::TransformerRun;

struct Log : TrainObserver {
  std::vector<std::map<std::string, double>> steps;
  void on_step(const StepRecord& r) override { steps.push_back(r.metrics); }
};

// PPO on the tiny model: GAE, critic with warm-up, KL in the reward with an adaptive coefficient.
test::TransformerRunOptions tiny_ppo() {
  test::TransformerRunOptions o = test::tiny_options();
  o.grpo.kl_in_reward = 0.05;
  o.grpo.adaptive_kl = {0.01, 50};
  o.grpo.whiten_advantages = true;
  o.grpo.critic.emplace();
  o.grpo.critic->optimizer.learning_rate.peak = 5e-3;
  o.grpo.critic->lambda = 0.95;
  o.grpo.critic->warmup = 1;
  o.trainer.train_samples.advantage.kind = AdvantageKind::kGae;
  return o;
}

WeightDigest whole_run(const test::TransformerRunOptions& o) {
  TransformerRun run(o, {});
  run.trainer->run();
  return run.policy->digest();
}

// Runs in a child process that kills itself at the n-th finished sample, counted over rollouts and evaluations.
void run_until_killed(const test::TransformerRunOptions& o, const std::filesystem::path& folder, int samples,
                      std::int64_t at_step) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    struct Killer : TrainObserver {
      int left;
      std::int64_t step;
      void on_rollout_progress(const RolloutProgress&) override {
        if (left > 0 && --left == 0) kill(getpid(), SIGKILL);
      }
      void on_step(const StepRecord& r) override {
        if (r.step == step) kill(getpid(), SIGKILL);
      }
    } killer;
    killer.left = samples;
    killer.step = at_step;
    try {
      TransformerRun run(o, folder, {&killer});
      run.trainer->resume();
      run.trainer->run();
    } catch (...) {
      _exit(3);
    }
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFSIGNALED(status));
}

}  // namespace

TEST_CASE("rollout and learner agree exactly on every step, also after updates and with waves and preemption") {
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    test::TransformerRunOptions o = test::tiny_options();
    o.dtype = dtype;
    o.threads = 2;
    Log log;
    TransformerRun run(o, {}, {&log});
    run.trainer->run();
    REQUIRE(log.steps.size() == 6);
    for (const auto& m : log.steps) {
      CHECK(m.at("mismatch/max_abs_logp") == 0);
      CHECK(m.at("mismatch/kl") == 0);
    }
    CHECK(log.steps[0].at("ratio/max") == 1);
    CHECK(log.steps[1].at("ratio/max") != 1);
  }
}

TEST_CASE("four steps = two + restore + two, bitwise; and any other cut") {
  test::TransformerRunOptions o = test::tiny_options();
  o.trainer.save_every = 1;
  o.trainer.steps = 4;
  const WeightDigest want = whole_run(o);
  for (std::int64_t cut : {1, 2, 3}) {
    CAPTURE(cut);
    const test::TempDir dir;
    test::run_cut(o, cut, dir.path());
    TransformerRun run(o, dir.path());
    CHECK(run.trainer->resume() == cut);
    run.trainer->run();
    CHECK(run.policy->digest() == want);
  }
}

TEST_CASE("PPO with a critic on a transformer: cut anywhere, or killed, policy and critic end with the same bits") {
  const test::TransformerRunOptions o = tiny_ppo();
  Log log;
  TransformerRun whole(o, {}, {&log});
  whole.trainer->run();
  const WeightDigest policy = whole.policy->digest(), critic = whole.critic->digest();
  REQUIRE(log.steps.size() == 6);
  CHECK(log.steps[0].at("critic/warmup") == 1);
  CHECK_FALSE(log.steps[1].contains("critic/warmup"));
  CHECK(log.steps[1].at("mismatch/max_abs_logp") == 0);
  for (const auto& m : log.steps) CHECK(m.at("critic/grad_norm") > 0);
  CHECK(log.steps[2].at("kl_in_reward_coefficient") != log.steps[0].at("kl_in_reward_coefficient"));
  const auto ends_alike = [&](const std::filesystem::path& folder) {
    TransformerRun run(o, folder);
    run.trainer->resume();
    run.trainer->run();
    CHECK(run.policy->digest() == policy);
    CHECK(run.critic->digest() == critic);
  };
  for (std::int64_t cut : {1, 2, 3, 5}) {
    CAPTURE(cut);
    const test::TempDir dir;
    test::run_cut(o, cut, dir.path());
    ends_alike(dir.path());
  }
  const test::TempDir dir;
  run_until_killed(o, dir.path(), 21, 0);
  run_until_killed(o, dir.path(), 0, 3);
  ends_alike(dir.path());
}

TEST_CASE("SIGKILL in rollouts and between updates: the final weights are those of the uninterrupted run") {
  const test::TransformerRunOptions o = test::tiny_options();
  const WeightDigest want = whole_run(o);
  for (const auto& [samples, step] : std::vector<std::pair<int, int>>{{3, 0}, {21, 0}, {0, 1}, {0, 3}, {30, 0}}) {
    CAPTURE(samples);
    CAPTURE(step);
    const test::TempDir dir;
    run_until_killed(o, dir.path(), samples, step);
    run_until_killed(o, dir.path(), 9, 0);  // and once more, soon after
    TransformerRun run(o, dir.path());
    run.trainer->resume();
    run.trainer->run();
    CHECK(run.policy->digest() == want);
  }
}

TEST_CASE("LoRA in RL: rollout and learner agree, reward rises, a killed run ends with the same weights") {
  test::TransformerRunOptions o = test::tiny_options();
  o.lora = true;
  o.trainer.steps = 24;
  o.trainer.save_every = 5;
  o.grpo.optimizer.learning_rate.peak = 2e-2;
  Log log;
  WeightDigest want;
  {
    TransformerRun run(o, {}, {&log});
    run.trainer->run();
    want = run.policy->digest();
    CHECK(run.policy->gradient().size() < static_cast<std::size_t>(run.model->weights().elements()) / 3);
  }
  for (const auto& m : log.steps) CHECK(m.at("mismatch/max_abs_logp") == 0);
  CHECK(log.steps[22].at("reward") > log.steps[0].at("reward") + 0.1);  // rollouts begin at even steps
  const test::TempDir dir;
  run_until_killed(o, dir.path(), 0, 13);
  TransformerRun run(o, dir.path());
  CHECK(run.trainer->resume() == 10);
  run.trainer->run();
  CHECK(run.policy->digest() == want);
}

TEST_CASE("threads and engine limits change no bit") {
  test::TransformerRunOptions o = test::tiny_options();
  const WeightDigest want = whole_run(o);
  o.threads = 2;
  CHECK(whole_run(o) == want);
  {  // a KV cache too small for its rows: samples are thrown out and computed again
    test::TransformerRunOptions tight = o;
    TransformerRun probe(tight, {});
    tight.engine.kv_cache_bytes = static_cast<std::int64_t>(probe.engine->kv_block_bytes()) * 9;
    TransformerRun run(tight, {});
    run.trainer->run();
    CHECK(run.engine->stats().preemptions > 0);
    CHECK(run.policy->digest() == want);
  }
  o.engine.max_rows = 64;
  o.engine.prefix_sharing = false;
  o.engine.prefill_tokens_per_step = 5;
  CHECK(whole_run(o) == want);
}

TEST_CASE("a saved checkpoint is a model that loads, with the live weights") {
  const test::TempDir dir;
  TransformerRun run(test::tiny_options(), dir.path());
  run.trainer->run();
  const Checkpoint checkpoint = newest_checkpoint(dir / "checkpoints").value();
  CHECK(checkpoint.state().step == 6);
  WeightStore store(checkpoint.model().config(), DType::kBF16);
  checkpoint.model().load_into(store);
  CHECK(store.digest() == run.policy->digest());
}

}  // namespace r1
