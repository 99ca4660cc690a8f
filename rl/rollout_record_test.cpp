#include "rl/rollout_record.h"

#include <cmath>
#include <map>

#include <doctest/doctest.h>

#include "core/error.h"
#include "core/files.h"
#include "core/run_folder.h"
#include "rl/table_run.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

// Keeps what observers saw, to hold the files against.
struct Seen : TrainObserver {
  std::map<std::int64_t, std::vector<ScoredGroup>> groups;
  std::map<std::int64_t, std::map<std::string, double>> metrics;
  std::map<std::int64_t, std::vector<TokenTrace>> traces;
  std::map<std::int64_t, std::vector<TrainSample>> trained;
  void on_step(const StepRecord& r) override {
    if (!r.groups.empty()) groups[r.step].assign(r.groups.begin(), r.groups.end());
    metrics[r.step] = r.metrics;
    traces[r.step].assign(r.traces.begin(), r.traces.end());
    trained[r.step].assign(r.trained.begin(), r.trained.end());
  }
};

using test::TableRun;

test::RunOptions several_updates() {
  test::RunOptions o;
  o.trainer.sampling.max_new_tokens = 3;
  o.trainer.steps = 6;
  o.trainer.prompts_per_rollout = 4;
  o.trainer.samples_per_prompt = 6;
  o.grpo.updates_per_rollout = 2;
  o.grpo.passes_per_rollout = 2;
  o.grpo.optimizer.learning_rate.peak = 0.5;  // far enough for ratios to leave the region
  return o;
}

RecordedRollout load_rollout(const std::filesystem::path& dir, std::int64_t step) { return rollout_from_bytes(read_file(dir / (step_name(step) + ".rollout"))); }
RecordedUpdate load_update(const std::filesystem::path& dir, std::int64_t step) { return update_from_bytes(read_file(dir / (step_name(step) + ".tokens"))); }

TEST_CASE("rollouts and updates are recorded bit for bit") {
  const test::TempDir dir;
  RolloutRecorder recorder({dir / "rollouts", 1 << 30});
  Seen seen;
  TableRun run(several_updates(), {}, {&recorder, &seen});
  run.learner->keep_traces(true);
  run.trainer->run();
  CHECK(recorded_steps(dir / "rollouts", ".rollout") == std::vector<std::int64_t>{1, 5});
  CHECK(recorded_steps(dir / "rollouts", ".tokens") == std::vector<std::int64_t>{1, 2, 3, 4, 5, 6});

  const RecordedRollout rollout = load_rollout(dir / "rollouts", 5);
  CHECK(rollout.step == 5);
  CHECK(rollout.rollout == 1);
  REQUIRE(rollout.groups.size() == 4);
  std::size_t next = 0;
  for (std::size_t g = 0; g < 4; ++g) {
    const RecordedGroup& got = rollout.groups[g];
    const ScoredGroup& want = seen.groups[5][g];
    CHECK(got.scored.group.prompt.id == want.group.prompt.id);
    REQUIRE(got.scored.group.completions.size() == 6);
    for (std::size_t i = 0; i < 6; ++i) {
      CHECK(got.scored.group.completions[i].tokens == want.group.completions[i].tokens);
      CHECK(got.scored.group.completions[i].logprobs == want.group.completions[i].logprobs);
      CHECK(got.scored.scores[i].value == want.scores[i].value);
      REQUIRE(got.advantages[i].has_value());
      REQUIRE(got.samples[i] == static_cast<std::int32_t>(next++));
      const TrainSample& s = seen.trained[5][static_cast<std::size_t>(got.samples[i])];
      CHECK(s.name == message(want.group.prompt.id, "/", i));
      CHECK(*got.advantages[i] == s.advantages[static_cast<std::size_t>(s.prompt_length)]);
    }
  }

  std::size_t clipped = 0;
  for (std::int64_t step = 1; step <= 6; ++step) {
    const RecordedUpdate update = load_update(dir / "rollouts", step);
    CHECK(update.step == step);
    CHECK(update.rollout == (step > 4 ? 1u : 0u));
    std::size_t tokens = 0, low = 0, high = 0;
    double gradient = 0;
    for (const RecordedTokens& s : update.samples) {
      CHECK(s.name == seen.trained[step][static_cast<std::size_t>(s.sample)].name);
      tokens += s.positions.size();
      for (std::size_t t = 0; t < s.positions.size(); ++t) {
        low += s.clipped[t] == 1, high += s.clipped[t] == 2;
        if (s.clipped[t]) CHECK(s.gradients[t] == 0.f);
        gradient += std::abs(s.gradients[t]);
        if (step == 1 || step == 5) CHECK(s.old_logprobs[t] == s.logprobs[t]);  // the policy itself
      }
    }
    REQUIRE(tokens == seen.traces[step].size());
    CHECK(tokens > 0);
    CHECK(gradient > 0);
    // The metrics are means over the same tokens.
    CHECK(seen.metrics[step].at("clip_ratio/low_mean") == doctest::Approx(static_cast<double>(low) / static_cast<double>(tokens)));
    CHECK(seen.metrics[step].at("clip_ratio/high_mean") == doctest::Approx(static_cast<double>(high) / static_cast<double>(tokens)));
    clipped += low + high;
  }
  CHECK(clipped > 0);
}

TEST_CASE("the oldest rollouts go where the folder outgrows its share, the newest stays") {
  const test::TempDir dir;
  RolloutRecorder recorder({dir / "rollouts", 1});
  TableRun run(several_updates(), {}, {&recorder});
  run.learner->keep_traces(true);
  run.trainer->run();
  CHECK(recorded_steps(dir / "rollouts", ".rollout") == std::vector<std::int64_t>{5});
  CHECK(recorded_steps(dir / "rollouts", ".tokens") == std::vector<std::int64_t>{5, 6});
}

TEST_CASE("damaged records are refused") {
  const test::TempDir dir;
  RolloutRecorder recorder({dir / "rollouts", 1 << 30});
  TableRun run(several_updates(), {}, {&recorder});
  run.trainer->run();
  std::string bytes = read_file(dir / "rollouts" / "step_000001.rollout");
  CHECK(recorded_steps(dir / "rollouts", ".tokens").empty());  // traces were not kept
  CHECK_THROWS_WITH_AS(update_from_bytes(bytes), doctest::Contains("no record"), DataError);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  CHECK_THROWS_WITH_AS(rollout_from_bytes(bytes), doctest::Contains("damaged"), DataError);
  CHECK_THROWS_AS(rollout_from_bytes("xy"), DataError);
}

}  // namespace
}  // namespace r1
