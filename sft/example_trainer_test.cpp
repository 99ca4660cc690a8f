// The loop over examples with SFT on a tiny transformer: what it shows, and that a run that was stopped or killed ends with the same weights.
#include "sft/example_trainer.h"

#include <doctest/doctest.h>

#include <csignal>

#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "rl/host_lora.h"
#include "sft/golden_support.h"
#include "sft/sft_objective.h"
#include "sft/test_support.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

struct Watch : TrainObserver {
  std::vector<std::map<std::string, double>> steps, validations;
  std::int64_t kill_at = -1;
  void on_step(const StepRecord& r) override {
    steps.push_back(r.metrics);
    if (r.step == kill_at) kill(getpid(), SIGKILL);
  }
  void on_validation(std::int64_t, const Metrics& m) override { validations.push_back(m); }
};

ExampleTrainerOptions loop_options() {
  ExampleTrainerOptions o;
  o.loop.steps = 7;
  o.loop.save_every = 2;
  o.loop.eval_every = 3;
  o.loop.seed = 5;
  o.loop.config_digest = "c";
  o.examples_per_update = 4;
  o.epochs = 26.0 / 12;  // the last update has two
  o.parts = {{6, 1}, {4, 1.5}};
  o.tokens_per_micro_batch = 32;
  o.optimizer.learning_rate = {2e-3, LrSchedule::kCosineWithMinLr, 2, o.loop.steps, 0.1};
  return o;
}

struct Run {
  explicit Run(const std::filesystem::path& folder, TrainObserver* observer = nullptr, ExampleTrainerOptions o = loop_options(), double lora_dropout = -1)
      : golden("tiny-qwen2-tied", DType::kBF16) {
    policy = &golden.policy;
    if (lora_dropout >= 0) {
      LoraOptions pairs;
      pairs.rank = 4, pairs.dropout = lora_dropout;
      with_pairs = with_lora(golden.model, TransformerPolicy::Options{}, LoraAdapter(golden.model.config(), pairs));
      policy = with_pairs.get();
    }
    objective = std::make_unique<SftObjective>(*policy, test::random_examples({9, 14, 6, 20, 11, 7, 8, 13, 5, 17}, 96, 2),
                                               test::random_examples({10, 12}, 96, 8));
    ExampleTrainer::Parts parts{objective.get()};
    if (observer) parts.observers = {observer};
    if (!folder.empty()) {
      SaveCheckpointOptions save;
      save.dtype = DType::kBF16;
      store = std::make_unique<ModelCheckpointStore>(folder, golden.model.config(), save);
      parts.checkpoints = store.get();
    }
    trainer = std::make_unique<ExampleTrainer>("sft", std::move(parts), o);
  }
  test::GoldenPolicy golden;
  std::unique_ptr<LoraPolicy> with_pairs;
  PolicyModel* policy = nullptr;
  std::unique_ptr<SftObjective> objective;
  std::unique_ptr<ModelCheckpointStore> store;
  std::unique_ptr<ExampleTrainer> trainer;
};

}  // namespace

TEST_CASE("what a run reports") {
  Watch watch;
  Run run({}, &watch);
  run.trainer->run();
  REQUIRE(watch.steps.size() == 7);
  REQUIRE(watch.validations.size() == 4);  // at 0, 3, 6 and the end
  CHECK(watch.steps[0].at("epoch") == doctest::Approx(4.0 / 12));
  CHECK(watch.steps[6].at("epoch") == doctest::Approx(26.0 / 12));
  CHECK(watch.steps[6].at("train/samples") == 2);
  CHECK(watch.steps[6].at("loss") < watch.steps[0].at("loss"));
  double rows = 0;
  for (const Metrics& step : watch.steps) rows += step.at("train/rows");
  CHECK(watch.steps[6].at("num_tokens") == rows);
  // Warm-up of two updates, then a cosine to a tenth over the other five.
  const double rates[] = {1e-3, 2e-3, 2e-3, 1.8281e-3, 1.3781e-3, 0.8219e-3, 0.3719e-3};
  for (std::size_t i = 0; i < 7; ++i) CHECK(watch.steps[i].at("learning_rate") == doctest::Approx(rates[i]).epsilon(1e-4));
  for (const char* key : {"entropy", "mean_token_accuracy", "grad_norm", "step_time", "perf/throughput"}) CHECK(watch.steps[3].contains(key));
}

TEST_CASE("killed after any step and started again: the weights of a run that was not, with LoRA too") {
  for (const auto& [at, lora] : {std::pair<std::int64_t, double>{1, -1}, {3, -1}, {6, -1}, {3, 0}, {3, 0.4}}) {
    CAPTURE(at);
    CAPTURE(lora);
    Run whole({}, nullptr, loop_options(), lora);
    whole.trainer->run();
    const WeightDigest expected = whole.policy->digest();
    const test::TempDir folder;
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      Watch killer;
      killer.kill_at = at;
      Run run(folder.path() / "c", &killer, loop_options(), lora);
      run.trainer->run();
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    REQUIRE(WIFSIGNALED(status));
    Watch watch;
    Run run(folder.path() / "c", &watch, loop_options(), lora);
    CHECK(run.trainer->resume().value_or(0) == (at - 1) / 2 * 2);
    run.trainer->run();
    CHECK(run.policy->digest() == expected);
    CHECK(watch.steps.back().at("num_tokens") > 0);
    Run done(folder.path() / "c", nullptr, loop_options(), lora);
    CHECK(done.trainer->resume() == 7);
  }
}

TEST_CASE("a checkpoint of other data, configuration or kind is refused") {
  const test::TempDir folder;
  Run run(folder.path() / "c");
  run.trainer->run();
  ExampleTrainerOptions other = loop_options();
  other.loop.config_digest = "d";
  Run changed(folder.path() / "c", nullptr, other);
  CHECK_THROWS_WITH_AS(changed.trainer->resume(), doctest::Contains("another configuration"), CheckpointError);
}

TEST_CASE("updates of a run") {
  CHECK(updates_for(3, 100, 64) == 5);  // 300 examples
  CHECK(updates_for(0.5, 100, 64) == 1);
  CHECK(updates_for(2, 64, 64) == 2);
  CHECK(updates_for(1e-9, 64, 64) == 1);
}

}  // namespace r1
