#include <doctest/doctest.h>

#include <sstream>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"
#include "core/run_folder.h"
#include "replay/recorded_run.h"
#include "replay/reward_diff.h"
#include "replay/sample_text.h"
#include "rl/table_run.h"
#include "rewards/factory.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

struct Losses : TrainObserver {
  std::map<std::int64_t, double> loss;
  void on_step(const StepRecord& r) override { loss[r.step] = r.metrics.at("loss"); }
};

// Six updates of two rollouts, in a folder as `r1 train` leaves it.
struct Run {
  test::TempDir dir;
  Losses losses;
  Run() {
    test::RunOptions o;
    o.trainer.steps = 6;
    o.trainer.prompts_per_rollout = 3;
    o.trainer.samples_per_prompt = 6;
    o.trainer.sampling.max_new_tokens = 3;
    o.trainer.sampling.want_entropy = true;
    o.grpo.updates_per_rollout = 3;
    o.grpo.optimizer.learning_rate.peak = 0.5;
    o.grpo.loss.kl_coefficient = 0.1;
    RolloutRecorder recorder({dir / "rollouts", 1 << 30});
    test::TableRun run(o, {}, {&recorder, &losses});
    run.learner->keep_traces(true);
    run.trainer->run();
    write_file_atomic(dir / "config.yaml", "kind: grpo\nmodel: {path: gone}\ndata: {path: gone.jsonl}\nrollout: {samples_per_prompt: 6, max_new_tokens: 3}\n"
                                           "rewards: [{python: gone.py:f}]\nrl: {updates_per_rollout: 3, kl: {coefficient: 0.1}}\n");
  }
};

TEST_CASE("the losses of an update's samples add up to the loss that was logged") {
  const Run run;
  const RecordedRun recorded(run.dir.path());
  CHECK(recorded.rollouts() == std::vector<std::int64_t>{1, 4});
  const Recipe recipe = make_recipe(portable_config(recorded));
  int checked = 0;
  for (const std::int64_t step : recorded.rollouts()) {
    const RecordedRollout rollout = recorded.rollout(step);
    for (const RecordedUpdate& update : recorded.updates(rollout)) {
      double sum = 0;
      for (const RecordedTokens& s : update.samples) sum += *sample_loss(update, s.sample, recipe);
      CHECK(sum == doctest::Approx(run.losses.loss.at(update.step)).epsilon(1e-5));
      ++checked;
    }
  }
  CHECK(checked == 6);
}

TEST_CASE("a sample is found, shown with its tokens, and with other rewards") {
  const Run run;
  const RecordedRun recorded(run.dir.path());
  const RecordedRollout rollout = recorded.rollout(5);  // the second update of the second rollout
  CHECK(rollout.step == 4);
  const auto updates = recorded.updates(rollout);
  REQUIRE(updates.size() == 3);
  const SamplePlace place = find_sample(rollout, "", 8);
  CHECK(place.group == 1);
  CHECK(place.sample == 2);
  const std::string id = rollout.groups[2].scored.group.prompt.id;
  CHECK(find_sample(rollout, id, 5).sample == 5);
  CHECK_THROWS_WITH_AS(find_sample(rollout, "", 18), doctest::Contains("samples 0 to 17"), ConfigError);
  CHECK_THROWS_WITH_AS(find_sample(rollout, "q1", 0), doctest::Contains("did you mean p"), ConfigError);
  CHECK_THROWS_WITH_AS(recorded.rollout(40), doctest::Contains("begin at steps 1, 4"), ConfigError);

  std::vector<Score> other(6);
  other[2].value = 5;
  const Recipe recipe = make_recipe(portable_config(recorded));
  const std::string text = sample_text({rollout, updates, place, nullptr, &recipe, &other});
  for (const char* part : {"rollout 1, prompt p", "sample 2 of 6", "by the other rewards: reward 5", "new advantage", "loss of this sample in update", "learner logp", "step 4"})
    CHECK_MESSAGE(text.find(part) != std::string::npos, part << " in " << text);
  // Every token of the completion is a line that begins with its position and number.
  const Completion& c = rollout.groups[1].scored.group.completions[2];
  std::istringstream table(text.substr(text.find("learner logp")));
  std::string line;
  std::getline(table, line);
  for (std::size_t t = 0; t < c.tokens.size(); ++t) {
    std::size_t position = 99;
    TokenId token = -1;
    float logprob = 1;
    table >> position >> token >> logprob;
    std::getline(table, line);
    CHECK(position == t);
    CHECK(token == c.tokens[t]);
    CHECK(logprob == doctest::Approx(c.logprobs[t]).epsilon(1e-3));
  }
}

TEST_CASE("reward diff counts flips, moves, values and groups that teach") {
  const auto rubric = [](const char* options) {
    std::vector<Rubric::Entry> entries(1);
    entries[0].reward = make_reward("math", options);
    return Rubric(std::move(entries));
  };
  SampleGroup group;
  group.prompt.id = "p", group.prompt.reference = "12";
  for (const char* text : {"\\boxed{12} is 12", "so it is 12", "13", "nothing"}) {
    group.completions.emplace_back().text = text;
    group.completions.back().stop = StopReason::kEos;
  }
  const auto strict = rubric("{extract: boxed}").score(group), loose = rubric("{extract: last_number}").score(group);
  RewardDiff diff;
  std::vector<std::string> lines;
  diff.add(7, group, strict, loose, [&](const RewardFlip& f) { lines.push_back(flip_json(f)); });
  CHECK(diff.completions == 4);
  CHECK(diff.flips == 2);
  CHECK(diff.values == 1);
  CHECK(diff.before == 1);
  CHECK(diff.after == 2);
  CHECK(diff.signal_before == 1);
  CHECK(diff.moves.at({Verdict::kUnparsed, Verdict::kCorrect}) == 1);
  CHECK(diff.moves.at({Verdict::kUnparsed, Verdict::kWrong}) == 1);
  REQUIRE(lines.size() == 2);
  const auto j = nlohmann::json::parse(lines[0]);
  CHECK(j["step"] == 7);
  CHECK(j["sample"] == 1);
  CHECK(j["old"]["verdict"] == "unparsed");
  CHECK(j["new"]["columns"]["answer_parsed"] == "12");
  CHECK(diff.text().find("2 of 4 (50 %)") != std::string::npos);
}

TEST_CASE("reward diff compares rewards where one side gives no verdict") {
  SampleGroup group;
  group.prompt.id = "p";
  group.completions.resize(3);
  std::vector<Score> numbers(3), others(3), judged(3);
  for (Score& s : numbers) s.verdict = Verdict::kAbstain, s.value = 1;
  others = numbers;
  others[1].value = 0.5f;
  for (Score& s : judged) s.verdict = Verdict::kCorrect, s.value = 1;
  judged[2].verdict = Verdict::kWrong, judged[2].value = 0;
  for (const auto& [other, flipped] : {std::pair(&others, 1u), std::pair(&judged, 2u), std::pair(&numbers, 9u)}) {
    RewardDiff diff;
    std::vector<std::size_t> seen;
    diff.add(1, group, numbers, *other, [&](const RewardFlip& f) { seen.push_back(f.sample); });
    CHECK(seen == (flipped == 9 ? std::vector<std::size_t>{} : std::vector<std::size_t>{flipped}));
    CHECK(diff.flips == static_cast<std::int64_t>(seen.size()));
  }
}

TEST_CASE("without recorded rollouts the transcripts are read") {
  const RecordedRun run(std::filesystem::path(R1_SOURCE_DIR) / "tests/golden/report/seed0");
  std::size_t completions = 0;
  CHECK_FALSE(run.each_rollout([&](const RecordedRollout& r) {
    for (const RecordedGroup& g : r.groups) {
      completions += g.scored.scores.size();
      CHECK_FALSE(g.scored.group.prompt.id.empty());
    }
  }));
  CHECK(completions > 20);
  CHECK_THROWS_WITH_AS(run.rollout(1), doctest::Contains("no recorded rollouts"), ConfigError);
  CHECK_THROWS_AS(RecordedRun("nowhere"), ConfigError);
}

}  // namespace
}  // namespace r1
