#include "rl/trainer.h"

#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "core/error.h"
#include "core/signals.h"
#include "rl/run_recorder.h"
#include "rl/table_run.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

using test::TableRun;

test::RunOptions small() {
  test::RunOptions o;
  o.trainer.seed = 3;
  o.trainer.steps = 12;
  o.trainer.prompts_per_rollout = 6;
  o.trainer.samples_per_prompt = 4;
  o.trainer.sampling.max_new_tokens = 3;
  o.trainer.sampling.want_entropy = true;
  o.trainer.eval_every = 4;
  o.trainer.eval.samples = 2;
  o.trainer.eval.sampling.max_new_tokens = 3;
  o.trainer.save_every = 5;
  o.grpo.updates_per_rollout = 3;
  o.grpo.optimizer.learning_rate.peak = 0.1;
  o.grpo.loss.kl_coefficient = 0.01;
  o.grpo.reference_refresh = 4;
  return o;
}

// Keeps what it hears; dies at the n-th event of one kind.
struct Witness : TrainObserver {
  enum Kind { kProgress, kStep, kCheckpoint, kEvaluation };
  struct Killed {};
  Kind kind = kStep;
  int die_at = -1;
  int counts[4] = {};
  std::vector<StepRecord> steps;
  std::vector<std::int64_t> evaluations;
  std::vector<std::string> messages;
  std::vector<std::string> samples;

  void hear(Kind k) {
    if (++counts[k] == die_at && k == kind) throw Killed{};
  }
  void on_rollout_progress(const RolloutProgress&) override { hear(kProgress); }
  void on_step(const StepRecord& r) override {
    steps.push_back(r);
    steps.back().groups = {};
    steps.back().samples = {};
    if (!r.groups.empty()) samples.push_back(transcripts(r, 0));
    hear(kStep);
  }
  void on_evaluation(std::int64_t step, const EvalReport&) override {
    evaluations.push_back(step);
    hear(kEvaluation);
  }
  void on_checkpoint(std::int64_t, const std::filesystem::path&) override { hear(kCheckpoint); }
  void on_message(const std::string& text) override { messages.push_back(text); }
};

}  // namespace

TEST_CASE("steps, rollouts, evaluations and metrics of a run") {
  Witness w;
  TableRun run(small(), {}, {&w});
  run.trainer->run();
  REQUIRE(w.steps.size() == 12);
  CHECK(w.evaluations == std::vector<std::int64_t>{0, 4, 8, 12});
  CHECK(w.samples.size() == 4);  // one a rollout
  for (std::size_t i = 0; i < 12; ++i) {
    const auto& m = w.steps[i].metrics;
    CHECK(w.steps[i].step == static_cast<std::int64_t>(i) + 1);
    CHECK(w.steps[i].rollout == i / 3);
    CHECK(m.contains("reward") == (i % 3 == 0));
    for (const char* name : {"loss", "grad_norm", "learning_rate", "kl", "clip_ratio/low_mean", "step_time",
                             "timing_s/update_actor", "num_tokens", "mismatch/max_abs_logp", "memory/peak_gb"})
      CHECK_MESSAGE(m.contains(name), name);
    CHECK(m.at("mismatch/max_abs_logp") == 0);
  }
  for (const char* name :
       {"reward_std", "frac_reward_zero_std", "rewards/bandit/mean", "completions/mean_length",
        "completions/clipped_ratio", "entropy", "accuracy", "pass_at_g", "length/wrong", "verdict/bandit/wrong",
        "timing_s/gen", "timing_s/reward", "perf/throughput", "rollout/tokens_per_s"})
    CHECK_MESSAGE(w.steps[0].metrics.contains(name), name);
  CHECK(w.steps[0].metrics.at("entropy") == doctest::Approx(std::log(6.0)));
}

TEST_CASE("the end of an outer pass is told after its step: the place to train a reward model on") {
  struct Hook : Witness {
    std::vector<std::int64_t> refreshed;
    void on_reference_refreshed(std::int64_t step) override {
      CHECK(steps.back().step == step);
      refreshed.push_back(step);
    }
  } hook;
  TableRun run(small(), {}, {&hook});
  run.trainer->run();
  CHECK(hook.refreshed == std::vector<std::int64_t>{4, 8, 12});
}

TEST_CASE("killed anywhere and started again: the same weights, no completion sampled twice") {
  const test::TempDir whole_dir;
  Witness whole_w;
  TableRun whole(small(), whole_dir.path(), {&whole_w});
  whole.trainer->run();
  const WeightDigest want = whole.policy->digest();

  struct Kill { Witness::Kind kind; int at; };
  std::vector<Kill> kills;
  for (int n = 1; n <= 96; n += 19) kills.push_back({Witness::kProgress, n});
  for (int n = 1; n <= 12; n += 2) kills.push_back({Witness::kStep, n});
  for (int n = 1; n <= 3; ++n) kills.push_back({Witness::kCheckpoint, n}), kills.push_back({Witness::kEvaluation, n});
  for (const Kill& kill : kills) {
    CAPTURE(static_cast<int>(kill.kind));
    CAPTURE(kill.at);
    const test::TempDir dir;
    int progress = 0;
    {
      Witness w;
      w.kind = kill.kind;
      w.die_at = kill.at;
      TableRun run(small(), dir.path(), {&w});
      run.trainer->resume();
      CHECK_THROWS_AS(run.trainer->run(), Witness::Killed);
      progress = w.counts[Witness::kProgress];
    }
    Witness w;
    TableRun run(small(), dir.path(), {&w});
    run.trainer->resume();
    run.trainer->run();
    CHECK(run.policy->digest() == want);
    CHECK(progress + w.counts[Witness::kProgress] == whole_w.counts[Witness::kProgress]);
    // The numbers of the later steps are those of the whole run, bit for bit.
    for (const StepRecord& s : w.steps) {
      const auto& other = whole_w.steps[static_cast<std::size_t>(s.step - 1)].metrics;
      for (const char* name : {"loss", "grad_norm", "kl", "reward", "num_tokens"}) {
        REQUIRE(s.metrics.contains(name) == other.contains(name));
        if (other.contains(name)) CHECK(s.metrics.at(name) == other.at(name));
      }
    }
    if (!w.samples.empty()) CHECK(w.samples.back() == whole_w.samples.back());
  }
}

TEST_CASE("what the journal holds is gone on with by the same recipe on the same device alone") {
  test::RunOptions options = small();
  options.trainer.steps = 3;  // one rollout of 24 completions
  test::RunOptions device = options, recipe = options, seed = options;
  device.trainer.device = "another";
  recipe.trainer.config_digest = "another";
  seed.trainer.seed += 1;
  for (const auto& [then, sampled] : {std::pair{&options, 14}, {&device, 24}, {&recipe, 24}, {&seed, 24}}) {
    const test::TempDir dir;
    Witness killed;
    killed.kind = Witness::kProgress;
    killed.die_at = 10;
    {
      TableRun run(options, dir.path(), {&killed});
      CHECK_THROWS_AS(run.trainer->run(), Witness::Killed);
    }
    Witness w;
    TableRun run(*then, dir.path(), {&w});
    run.trainer->run();
    CHECK(w.counts[Witness::kProgress] == sampled);
  }
}

TEST_CASE("a stop request saves and the run goes on later as if nothing had been") {
  const test::TempDir whole_dir;
  TableRun whole(small(), whole_dir.path());
  whole.trainer->run();
  struct Stopper : TrainObserver {
    int at;
    int count = 0;
    void on_rollout_progress(const RolloutProgress&) override {
      if (++count == at) request_stop();
    }
  };
  for (int at : {1, 30, 50, 96}) {
    const test::TempDir dir;
    Stopper stopper;
    stopper.at = at;
    {
      TableRun run(small(), dir.path(), {&stopper});
      CHECK_THROWS_AS(run.trainer->run(), Interrupted);
      CHECK(run.store->newest().has_value());
    }
    reset_stop_for_tests();
    TableRun run(small(), dir.path());
    CHECK(run.trainer->resume().has_value());
    run.trainer->run();
    CHECK(run.policy->digest() == whole.policy->digest());
  }
}

TEST_CASE("another budget of the micro-batches or another recipe on resume") {
  const test::TempDir dir;
  Witness w;
  w.die_at = 7;
  TableRun run(small(), dir.path(), {&w});
  CHECK_THROWS_AS(run.trainer->run(), Witness::Killed);
  TableRun other(small(), dir.path());
  other.learner->set_tokens_per_micro_batch(7);
  CHECK(other.trainer->resume() == 5);
  CHECK(other.learner->options().tokens_per_micro_batch == 8192);  // the plan of the run that was begun
  test::RunOptions different = small();
  different.trainer.config_digest = "another";
  TableRun changed(different, dir.path());
  CHECK_THROWS_AS(changed.trainer->resume(), CheckpointError);
}

TEST_CASE("dynamic sampling: only mixed groups train, more prompts are drawn, rounds are capped") {
  test::RunOptions options;
  options.trainer.seed = 5;
  options.trainer.steps = 6;
  options.trainer.prompts_per_rollout = 4;
  options.trainer.samples_per_prompt = 3;
  options.trainer.sampling.max_new_tokens = 1;
  options.trainer.eval_at_start = false;
  options.trainer.eval_every = 0;
  options.trainer.dynamic = {true, 3, 1.0};
  options.grpo.optimizer.learning_rate.peak = 0.2;
  struct Check : TrainObserver {
    int partial = 0, more_rounds = 0;
    void on_step(const StepRecord& r) override {
      const double rounds = r.metrics.at("dynamic_sampling/rounds"), kept = r.metrics.at("dynamic_sampling/kept");
      CHECK(rounds <= 3);
      CHECK((kept == 4 || rounds == 3));
      partial += kept < 4;
      more_rounds += rounds > 1;
      std::set<std::uint64_t> groups;
      for (const TrainSample& s : r.samples) groups.insert(s.group);
      CHECK(static_cast<double>(groups.size()) == kept);
      for (const TrainSample& s : r.samples) CHECK(s.advantages.back() != 0);  // never a group without spread
      CHECK(static_cast<double>(r.groups.size()) == r.metrics.at("dynamic_sampling/sampled"));
    }
  } check;
  TableRun run(options, {}, {&check});
  run.trainer->run();
  CHECK(check.more_rounds > 0);

  // Nothing is ever mixed: no update, the run says so and ends.
  Witness w;
  TableRun hopeless(options, {}, {&w}, [](const SampleGroup& g) {
    return std::vector<Score>(g.completions.size(), Score{1.f, {{"all", 1.f}}, Verdict::kCorrect, "", {}, {}});
  });
  hopeless.trainer->run();
  CHECK(hopeless.learner->version() == 0);
  CHECK(w.messages.size() == 12);
}

TEST_CASE("a reward that throws ends the run with its message") {
  TableRun run(small(), {}, {}, [](const SampleGroup&) -> std::vector<Score> { throw DataError("broken reward"); });
  CHECK_THROWS_WITH_AS(run.trainer->run(), "broken reward", DataError);
}

TEST_CASE("transcripts hold what a person wants to see") {
  Witness w;
  TableRun run(small(), {}, {&w});
  run.trainer->run();
  for (const char* key : {"\"prompt_id\":\"p", "\"completion\":", "\"reward\":", "\"rewards\":{\"bandit\":",
                          "\"verdict\":", "\"advantage\":", "\"stop\":", "\"step\":1"})
    CHECK_MESSAGE(w.samples[0].find(key) != std::string::npos, key);
  CHECK(std::count(w.samples[0].begin(), w.samples[0].end(), '\n') == 24);
  CHECK(w.samples[0].find("\"advantage\":null") == std::string::npos);
}

TEST_CASE("recorder: a metrics line a step, transcripts every few steps") {
  const test::TempDir dir;
  MetricsWriter::Options options;
  options.jsonl = dir / "metrics.jsonl";
  MetricsWriter metrics(options);
  RunRecorder::Options record;
  record.samples_every = 6;
  record.samples_file = [&](std::int64_t step) { return dir / ("samples_" + std::to_string(step)); };
  record.eval_items = dir / "eval";
  RunRecorder recorder(&metrics, record);
  TableRun run(small(), {}, {&recorder});
  run.trainer->run();
  const std::string text = read_file(dir / "metrics.jsonl");
  CHECK(std::count(text.begin(), text.end(), '\n') == 12 + 4);
  CHECK(text.find("\"eval/greedy/accuracy\"") != std::string::npos);
  CHECK(std::filesystem::exists(dir / "samples_1"));
  CHECK_FALSE(std::filesystem::exists(dir / "samples_4"));
  CHECK(std::filesystem::exists(dir / "samples_7"));
  CHECK(std::filesystem::exists(dir / "eval" / "step_000004.jsonl"));
}

}  // namespace r1
