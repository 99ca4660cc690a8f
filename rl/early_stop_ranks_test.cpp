// Early stop on several ranks: the groups of one process are kept, and what runs on one rank ends by what another has finished.
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "core/error.h"
#include "rl/ranks_run.h"
#include "rl/rollout_collector.h"
#include "tests/support/support.h"

namespace r1 {

using namespace test;

namespace {

TransformerRunOptions early_options(std::int64_t staleness) {
  TransformerRunOptions o = rank_options();
  o.lanes = 2;
  o.trainer.early_stop = {true, 1.6};
  o.trainer.sampling.max_new_tokens = 24;
  o.grpo.length_budget = 24;
  o.trainer.async.max_staleness = staleness;
  o.trainer.async.patience_s = 60;
  return o;
}

// A token of every running sample a millisecond; lengths by prompt.
class TickingEngine : public RolloutEngine {
 public:
  using Lengths = std::function<std::size_t(std::uint64_t prompt)>;
  explicit TickingEngine(Lengths lengths) : lengths_(std::move(lengths)) {}
  RequestId submit(RolloutRequest request) override {
    running_.push_back({next_, std::move(request), 0});
    return next_++;
  }
  void cancel(RequestId id) override { cancelled_.push_back(id); }
  void wait(const std::function<void(RolloutEvent&&)>& on_event, bool) override {
    while (!running_.empty()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      for (Running& r : running_) {
        const bool cut = std::find(cancelled_.begin(), cancelled_.end(), r.id) != cancelled_.end();
        const std::size_t length = lengths_(r.request.key.prompt);
        if (!cut) ++r.tokens, ++generated;
        for (int s = 0; s < r.request.samples; ++s) {
          if (!cut) on_event({RolloutEvent::Kind::kTokens, r.id, s, {1}, {}, {}, {0.f}});
          if (!cut && r.tokens < length) continue;
          RolloutEvent e;
          e.request = r.id, e.sample = s;
          e.completion.tokens.assign(r.tokens, 1), e.completion.logprobs.assign(r.tokens, 0.f);
          e.completion.stop = cut ? StopReason::kAborted : StopReason::kEos;
          if (s + 1 == r.request.samples) r.ended = true;
          on_event(std::move(e));
        }
      }
      std::erase_if(running_, [](const Running& r) { return r.ended; });
    }
  }
  void load_weights(const WeightSnapshot&) override {}
  WeightVersion weight_version() const override { return 0; }
  EngineStats stats() const override { return {}; }
  std::size_t generated = 0;

 private:
  struct Running {
    RequestId id = 0;
    RolloutRequest request;
    std::size_t tokens = 0;
    bool ended = false;
  };
  Lengths lengths_;
  std::vector<Running> running_;
  std::vector<RequestId> cancelled_;
  RequestId next_ = 1;
};

}  // namespace

TEST_CASE("early stop in turns and beside the learner: weights, kept groups and lengths of one process on two ranks and on three") {
  for (const std::int64_t staleness : {0, 1}) {
    CAPTURE(staleness);
    TransformerRunOptions o = early_options(staleness);
    const std::string want = train(o, nullptr);
    o.trainer.early_stop.enabled = false;
    CHECK(train(o, nullptr) != want);
    o.trainer.early_stop.enabled = true;
    same_on_all(run_ranks(2, [&](Session& s) { return train(o, &s); }), want);
    // Other sums than of two lanes, but the same choice: a learning rate of 0 lets it be compared.
    o.grpo.optimizer.learning_rate.peak = 0;
    o.lanes = 0;
    const std::string digest = digest_line(train(o, nullptr));
    for (const auto& r : run_ranks(3, [&](Session& s) { return train(o, &s); })) {
      CHECK(digest_line(r.output) == digest);
      CHECK(r.status == 0);
    }
  }
}

TEST_CASE("a group that is certain to be dropped is ended though only another rank knows, and all ranks choose alike") {
  std::vector<Prompt> prompts;
  for (int i = 0; i < 6; ++i) prompts.push_back(make_prompt("p" + std::to_string(i), {1, 2}));
  const auto results = run_ranks(2, [&](Session& s) -> std::string {
    Ranks ranks(&s, 0);
    // Of 0, 2, 4 (the first rank's) and 1, 3, 5: longer than a test may take is 3.
    TickingEngine engine([](std::uint64_t prompt) { return std::vector<std::size_t>{30, 20, 10, 30000, 60, 70}[prompt]; });
    const ShuffledPrompts source(prompts, 1, false);
    TrainerOptions o;
    o.prompts_per_rollout = 3, o.samples_per_prompt = 2;
    o.early_stop = {true, 2.0};
    Scoring scoring;
    scoring.group = [](const SampleGroup& g) { return std::vector<Score>(g.completions.size()); };
    RolloutCollector collector(engine, source, scoring, {}, o, &ranks);
    std::string out;
    const CollectedRollout rollout = collector.collect(0, 0, {}, {});
    for (const ScoredGroup& g : rollout.groups) out += g.group.prompt.id + " ";
    for (const char* name : {"sampled_groups", "dropped_groups", "kept_length"}) out += message(rollout.metrics.at(std::string("early_stop/") + name), " ");
    R1_CHECK(engine.generated < 3000, engine.generated, " ticks: the long group was not ended");
    R1_CHECK(rollout.metrics.at("early_stop/dropped_tokens") > 0, "nothing was dropped");
    return out;
  });
  same_on_all(results, "p0 p1 p2 6 3 20 ");
}

}  // namespace r1
