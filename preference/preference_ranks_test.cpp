// Reward models and DPO as several processes: the numbers of one process with as many lanes, dropout's draws included; what only rank 0 has.
#include <doctest/doctest.h>

#include <cstdio>

#include "comm/ranks_test_support.h"
#include "core/digest.h"
#include "preference/dpo_objective.h"
#include "preference/reward_objective.h"
#include "preference/test_support.h"
#include "rl/host_lora.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

using test::TinyModel;

// Every number that a run reports but its times, exactly.
struct Numbers : TrainObserver {
  std::string text;
  void add(const std::map<std::string, double>& metrics) {
    for (const auto& [name, value] : metrics) {
      if (name.find("time") != std::string::npos || name.starts_with("perf/") || name.starts_with("timing")) continue;
      char number[64];
      std::snprintf(number, sizeof number, "=%a ", value);
      text += name + number;
    }
    text += "\n";
  }
  void on_step(const StepRecord& r) override { add(r.metrics); }
  void on_validation(std::int64_t, const std::map<std::string, double>& m) override { add(m); }
};

enum class Kind { kReward, kPoints, kDpo, kRewardLora, kDpoLora };

// Three updates with lanes over the session's ranks (null = one process): digest and numbers.
std::string train(Kind kind, int lanes, Session* session) {
  Ranks ranks(session, lanes);
  TinyModel tiny(DType::kBF16);
  PreferenceSet pairs = test::toy_pairs(22, 3), held_out = test::toy_pairs(9, 4);
  const LoraAdapter adapter(tiny.model->config(), {.rank = 4, .alpha = 8, .seed = 2, .dropout = 0.3});
  std::unique_ptr<ValueModel> value;
  std::unique_ptr<PolicyModel> policy;
  std::unique_ptr<ExampleObjective> objective;
  if (kind == Kind::kDpo || kind == Kind::kDpoLora) {
    if (kind == Kind::kDpo) policy = std::make_unique<TransformerPolicy>(*tiny.model);
    else policy = with_lora(*tiny.model, TransformerPolicy::Options{}, adapter);
    DpoObjective::Data train{pairs, answer_logprobs(*policy, pairs.samples, 256)}, held{held_out, answer_logprobs(*policy, held_out.samples, 256)};
    objective = std::make_unique<DpoObjective>(*policy, train, held, DpoOptions{}, &ranks);
  } else {
    TransformerValue::Options head;
    head.head_std = 0.1;
    if (kind == Kind::kRewardLora) value = with_lora(*tiny.model, head, adapter);
    else value = std::make_unique<TransformerValue>(*tiny.model, head);
    for (PreferenceSet* set : {&pairs, &held_out}) {
      if (kind == Kind::kPoints) {
        set->pairs = false;
        for (std::size_t i = 0; i < set->samples.size(); ++i) set->samples[i].group = i, set->labels.push_back(i % 2 == 0 ? 1 : 0);
      }
      mark_for_scores(*set);
    }
    objective = std::make_unique<RewardObjective>(*value, pairs, held_out, RewardOptions{0.01}, &ranks);
  }
  if (session) objective->model().join(*session, 1);
  Numbers numbers;
  ExampleTrainerOptions o;
  o.examples_per_update = 8;
  o.loop.steps = 3;
  o.loop.eval_every = 2;
  o.loop.seed = 7;
  o.optimizer.learning_rate.peak = 2e-3;
  o.tokens_per_micro_batch = 40;  // several micro-batches a lane
  ExampleTrainer::Parts parts{objective.get(), nullptr, {&numbers}};
  parts.ranks = &ranks;
  ExampleTrainer("test", parts, o).run();
  std::string out = to_hex(objective->model().digest()) + "\n" + numbers.text;
  if (value)
    for (const ScoredExample& e : static_cast<RewardObjective&>(*objective).scored()) {
      out += e.name;
      for (const double s : e.scores) out += message(" ", s);
    }
  return out;
}

}  // namespace

TEST_CASE("reward models and DPO with four lanes: the same bits on 1, 2 and 4 ranks; dropout is drawn by lane") {
  for (const Kind kind : {Kind::kReward, Kind::kPoints, Kind::kDpo, Kind::kRewardLora, Kind::kDpoLora}) {
    CAPTURE(static_cast<int>(kind));
    const std::string want = train(kind, 4, nullptr);
    CHECK(want != train(kind, 1, nullptr));  // another order of sums, and other draws
    for (const int world : {2, 4})
      for (const auto& r : test::run_ranks(world, [&](Session& s) { return train(kind, 4, &s); })) {
        CAPTURE(r.output);
        CHECK(r.status == 0);
        CHECK(r.output == want);
      }
  }
}

TEST_CASE("DPO's reference on three ranks: each computes its share, rank 0 alone has the file, and a second start asks nothing") {
  const test::TempDir dir;
  const PreferenceSet pairs = test::toy_pairs(11, 3);
  TinyModel tiny(DType::kBF16);
  TransformerPolicy policy(*tiny.model);
  const std::vector<double> want = answer_logprobs(policy, pairs.samples, 256);
  for (const bool second : {false, true}) {
    const auto results = test::run_ranks(3, [&](Session& s) -> std::string {
      struct Counting : TransformerReference {
        using TransformerReference::TransformerReference;
        std::size_t sequences = 0;
        LogprobRows evaluate(const PackedBatch& batch, float temperature, bool want_entropies) override {
          sequences += batch.sequences.size();
          return TransformerReference::evaluate(batch, temperature, want_entropies);
        }
      } reference(*tiny.model);
      const auto folder = dir.path() / std::to_string(s.rank());
      std::filesystem::create_directories(folder);
      const std::vector<double> got = cached_answer_logprobs(folder / "ref", reference, policy.digest(), pairs.samples, 64, Ranks(&s, 0));
      R1_CHECK(got == want, "other log-probabilities");
      R1_CHECK(std::filesystem::exists(folder / "ref") == (s.rank() == 0), "a file of rank ", s.rank());
      return std::to_string(reference.sequences);
    });
    std::size_t asked = 0;
    for (const auto& r : results) {
      CAPTURE(r.output);
      REQUIRE(r.status == 0);
      CHECK((std::stoul(r.output) == 0) == second);
      asked += std::stoul(r.output);
    }
    CHECK(asked == (second ? 0 : 33));  // a prompt and two answers a pair, once
  }
}

}  // namespace r1
