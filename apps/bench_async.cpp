#include "apps/bench_async.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <ostream>
#include <string>
#include <thread>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/rng.h"
#include "rl/trainer.h"

namespace r1 {
namespace {

using Clock = std::chrono::steady_clock;

// Metrics and wall time of the steps that begin a rollout; `updates` steps make one.
struct Stopwatch : TrainObserver {
  std::map<std::string, std::vector<double>> values;
  std::int64_t skip = 0;  // the first steps fill the pipeline and warm up
  int updates = 1;
  Clock::time_point last = Clock::now();
  void on_step(const StepRecord& r) override {
    R1_CHECK((r.step - 1) % updates != 0 || !r.samples.empty(), "step ", r.step, " of the benchmark trained nothing");
    for (const char* name : {"time/rollout", "time/wait_rollout", "time/wait_learner", "timing_s/prepare", "timing_s/reward", "rollout/overlap_share",
                             "staleness/mean"})
      if (const auto m = r.metrics.find(name); m != r.metrics.end() && r.step > skip) values[name].push_back(m->second);
    if (r.step > skip) values["update"].push_back(r.metrics.at("timing_s/update_actor"));
    if (r.step % updates != 0) return;
    const Clock::time_point now = Clock::now();
    if (r.step > skip) values["step"].push_back(std::chrono::duration<double>(now - last).count() / updates);
    last = now;
  }
  double median(const std::string& name) {
    std::vector<double>& v = values[name];
    if (v.empty()) return 0;
    std::sort(v.begin(), v.end());
    return v.size() % 2 ? v[v.size() / 2] : 0.5 * (v[v.size() / 2 - 1] + v[v.size() / 2]);
  }
};

std::vector<Prompt> random_prompts(const TrainBenchCase& c, std::int64_t vocab) {
  std::vector<Prompt> prompts(static_cast<std::size_t>(c.prompts) * 4);
  StreamRng rng(9, 0);
  for (std::size_t p = 0; p < prompts.size(); ++p) {
    prompts[p].id = message("bench-", p);
    for (int i = 0; i < c.prompt_tokens; ++i) prompts[p].tokens.push_back(static_cast<TokenId>(rng.below(static_cast<std::uint64_t>(vocab))));
  }
  return prompts;
}

}  // namespace

void run_async_bench(const std::function<Runtime()>& open, const AsyncBenchCase& c, const TrainBenchOptions& options, std::ostream& out) {
  const TrainBenchCase& b = c.batch;
  double in_turns = 0;
  for (const std::int64_t staleness : c.staleness) {
    if (staleness < 0) throw ConfigError(message("--staleness ", staleness, " must not be negative"));
    const Runtime run = open();
    BackendNeeds needs = device_default();
    needs.trains = true, needs.overlap = staleness > 0;
    needs.optimizer = options.optimizer;
    needs.longest_sample = b.prompt_tokens + b.new_tokens;
    if (options.tokens_per_micro_batch > 0) needs.tokens_per_micro_batch = options.tokens_per_micro_batch;
    if (options.recompute) needs.recompute = true;
    BackendParts made = run.backend->make(needs, run.tokenizer);

    GrpoOptions g;
    g.optimizer.learning_rate.peak = 1e-9;  // the weights stay where they are
    g.tokens_per_micro_batch = made.tokens_per_micro_batch;
    g.updates_per_rollout = c.updates;
    g.stale_samples = staleness > 0;
    GrpoLearner learner(*made.policy, nullptr, g);
    TrainerOptions t;
    Stopwatch watch;
    watch.updates = c.updates;
    watch.skip = (1 + (staleness + c.updates - 1) / c.updates) * c.updates;  // no rollout after it was begun at once with an earlier one
    t.steps = watch.skip + std::int64_t{options.repeats} * c.updates;
    t.prompts_per_rollout = b.prompts, t.samples_per_prompt = b.samples;
    t.sampling.max_new_tokens = b.new_tokens;
    t.sampling.ignore_eos = true;
    t.eval_every = 0, t.eval_at_start = false;
    t.reward_threads = c.reward_threads;
    t.async.max_staleness = staleness;
    t.async.free_running = c.free_running && staleness > 0;
    const ShuffledPrompts prompts(random_prompts(b, run.backend->config().vocab_size), 1);
    Trainer::Parts parts;
    parts.learner = &learner, parts.engine = made.engine.get(), parts.prompts = &prompts;
    parts.scorer = [&](const SampleGroup& group) {
      std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(c.reward_ms * static_cast<double>(group.completions.size())));
      std::vector<Score> scores(group.completions.size());
      for (std::size_t i = 0; i < scores.size(); ++i) {  // so that no group is without spread
        for (const TokenId token : group.completions[i].tokens) scores[i].value += static_cast<float>(token % 7);
        scores[i].parts["bench"] = scores[i].value;  // without a part it would be no reward, and nothing would be trained
        scores[i].verdict = Verdict::kCorrect;
      }
      return scores;
    };
    if (!c.whole_groups) parts.completion_scorer = parts.scorer;
    parts.observers = {&watch};
    Trainer trainer(std::move(parts), t);
    watch.last = Clock::now();
    trainer.run();

    const double step = watch.median("step");
    if (staleness == 0) in_turns = step;
    const double tokens = double(b.prompts) * b.samples * (b.prompt_tokens + b.new_tokens) / c.updates;
    nlohmann::json row = {{"case", "async"}, {"model", run.path.filename().string()}, {"device", run.backend->device()},
                          {"threads", run.pool ? run.pool->size() : 0},
                          {"staleness", staleness}, {"free_running", t.async.free_running}, {"prompts", b.prompts}, {"samples", b.samples},
                          {"prompt_tokens", b.prompt_tokens}, {"new_tokens", b.new_tokens}, {"updates", c.updates},
                          {"reward_ms", c.reward_ms}, {"reward_threads", c.reward_threads}, {"whole_groups", c.whole_groups},
                          {"steps", options.repeats}, {"tokens_per_micro_batch", made.tokens_per_micro_batch}};
    row["step_s"] = step;
    row["rollout_s"] = watch.median("time/rollout");
    row["update_s"] = watch.median("update");
    row["prepare_s"] = watch.median("timing_s/prepare");
    row["reward_wait_s"] = watch.median("timing_s/reward");
    row["wait_rollout_s"] = watch.median("time/wait_rollout");
    row["wait_learner_s"] = watch.median("time/wait_learner");
    row["overlap_share"] = watch.median("rollout/overlap_share");
    row["staleness_mean"] = watch.median("staleness/mean");
    row["tokens_per_s"] = tokens / step;
    row["memory_gb"] = run.backend->peak_gb();
    if (in_turns > 0) row["speedup"] = in_turns / step;
    out << row.dump() << std::endl;
  }
}

}  // namespace r1
