#include "rl/evaluator.h"

#include <chrono>
#include <limits>

#include "core/error.h"
#include "core/metrics.h"
#include "core/serialize.h"
#include "core/signals.h"
#include "core/thread_pool.h"
#include "rl/eval/completion_source.h"

namespace r1 {
namespace {

void check(const EvalOptions& o) {
  if (!o.greedy && o.samples <= 0) throw ConfigError("an evaluation needs eval.greedy or eval.samples");
  if (o.samples > 0 && o.sampling.temperature <= 0)
    throw ConfigError(
        "eval.temperature is 0: sampled evaluation needs a temperature; set eval.samples to 0 for greedy only");
  for (int k : o.pass_k)
    if (k < 1 || k > o.samples)
      throw ConfigError(message("pass@", k, " needs at least ", k, " samples, eval.samples is ", o.samples));
}

// Every prompt whose number is the sampler's, modulo their number; in their order.
std::vector<SampleGroup> run(RolloutEngine& engine, std::span<const Prompt> prompts, const EvalOptions& o, bool greedy, const Ranks& ranks,
                             const std::function<void(std::size_t, const SampleGroup&)>& on_group) {
  std::vector<RolloutRequest> requests;
  for (auto i = static_cast<std::size_t>(ranks.sampler()); i < prompts.size(); i += static_cast<std::size_t>(ranks.samplers())) {
    RolloutRequest r{prompts[i], greedy ? 1 : o.samples, o.sampling, {o.seed, kEvalStep, i, 0}};
    r.sampling.want_entropy = true;
    if (greedy) r.sampling.temperature = 0, r.sampling.top_k = 0, r.sampling.top_p = 1, r.sampling.min_p = 0;
    requests.push_back(std::move(r));
  }
  return generate(engine, std::move(requests), [&](std::size_t i, const SampleGroup& g) {
    if (ranks.speaks()) on_group(i, g);
    ranks.throw_if_sampler_stopped();
  });
}

// The ranks' groups with their scores in the order of the prompts.
void share(std::vector<SampleGroup>& groups, std::vector<std::vector<Score>>& scores, std::size_t prompts, const Ranks& ranks) {
  if (ranks.alone()) return;
  std::string mine;
  for (std::size_t i = 0; i < groups.size() && ranks.speaks(); ++i) append_record(mine, to_bytes(ScoredGroup{std::move(groups[i]), std::move(scores[i])}));
  const std::vector<std::string> all = ranks.gather(mine, "evaluated answers");
  groups.assign(prompts, {});
  scores.assign(prompts, {});
  const auto samplers = static_cast<std::size_t>(ranks.samplers());
  for (std::size_t s = 0; s < samplers; ++s) {
    std::string_view bytes = all[static_cast<std::size_t>(ranks.first_rank(static_cast<int>(s)))];
    for (std::size_t i = s; i < prompts; i += samplers) {
      ScoredGroup g = scored_group_from_bytes(take_record(bytes));
      groups[i] = std::move(g.group);
      scores[i] = std::move(g.scores);
    }
  }
}

EvalPart summarise(const std::vector<SampleGroup>& groups, const std::vector<std::vector<Score>>& scores,
                   std::vector<double>& shares) {
  EvalPart part;
  Statistics reward, length, entropy;
  std::int64_t truncated = 0;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    double right = 0;
    for (std::size_t k = 0; k < scores[i].size(); ++k) {
      const Completion& c = groups[i].completions[k];
      right += scores[i][k].verdict == Verdict::kCorrect;
      reward.add(scores[i][k].value);
      length.add(static_cast<double>(c.tokens.size()));
      truncated += c.stop == StopReason::kLength;
      for (float h : c.entropies) entropy.add(h);
    }
    shares.push_back(right / static_cast<double>(scores[i].size()));
  }
  part.items = static_cast<std::int64_t>(groups.size());
  part.completions = length.count();
  part.accuracy = mean_of(shares);
  part.mean_reward = reward.mean();
  part.mean_length = length.mean();
  part.truncated = static_cast<double>(truncated) / static_cast<double>(length.count());
  part.mean_entropy = entropy.mean();
  return part;
}

void put(std::map<std::string, double>& m, const std::string& prefix, const std::string& accuracy, const EvalPart& p) {
  m[prefix + accuracy] = p.accuracy;
  m[prefix + accuracy + "_low"] = p.interval.low;
  m[prefix + accuracy + "_high"] = p.interval.high;
  m[prefix + "reward"] = p.mean_reward;
  m[prefix + "mean_length"] = p.mean_length;
  m[prefix + "clipped_ratio"] = p.truncated;
  m[prefix + "entropy"] = p.mean_entropy;
}

}  // namespace

std::map<std::string, double> EvalReport::metrics() const {
  std::map<std::string, double> m;
  if (greedy) put(m, "eval/greedy/", "accuracy", *greedy);
  if (sampled) put(m, "eval/sampled/", "pass@1", *sampled);
  for (const auto& [k, value] : pass_at) {
    if (k == 1) continue;
    const std::string name = message("eval/sampled/pass@", k);
    m[name] = value;
    m[name + "_low"] = pass_at_interval.at(k).low;
    m[name + "_high"] = pass_at_interval.at(k).high;
  }
  m["eval/seconds"] = seconds;
  return m;
}

EvalReport evaluate(RolloutEngine& engine, std::span<const Prompt> prompts, const Scorer& scorer,
                    const EvalOptions& options, const Ranks* given) {
  const Ranks one_process;
  const Ranks& ranks = given ? *given : one_process;
  check(options);
  if (prompts.empty()) throw DataError("the evaluation has no prompt");
  const auto start = std::chrono::steady_clock::now();
  EvalReport report;
  report.items.resize(prompts.size());
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    report.items[i].id = prompts[i].id;
    report.items[i].group.prompt = prompts[i];
  }
  for (const bool greedy : {true, false}) {
    if (greedy ? !options.greedy : options.samples <= 0) continue;
    std::vector<std::vector<Score>> scores(prompts.size());
    std::vector<std::future<void>> tasks;
    std::vector<SampleGroup> groups;
    ranks.agree("evaluation", [&] {
      {
        ThreadPool pool(options.reward_threads, 4096, "r1-reward");  // its end waits for the tasks, also after a throw
        groups = run(engine, prompts, options, greedy, ranks, [&](std::size_t i, const SampleGroup& g) {
          tasks.push_back(pool.submit([&scores, &scorer, i, g] { scores[i] = scorer(g); }));
        });
      }
      for (auto& t : tasks) t.get();
    });
    share(groups, scores, prompts.size(), ranks);
    std::vector<double> shares;
    EvalPart part = summarise(groups, scores, shares);
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      EvalItem& item = report.items[i];
      for (const Score& s : scores[i]) item.correct += !greedy && s.verdict == Verdict::kCorrect;
      if (greedy) item.greedy_correct = scores[i][0].verdict == Verdict::kCorrect;
      if (!greedy) item.samples = options.samples;
      std::move(groups[i].completions.begin(), groups[i].completions.end(), std::back_inserter(item.group.completions));
      std::move(scores[i].begin(), scores[i].end(), std::back_inserter(item.scores));
    }
    if (greedy) {
      part.interval =
          wilson_interval(static_cast<std::int64_t>(part.accuracy * static_cast<double>(part.items) + 0.5), part.items);
      report.greedy = part;
      continue;
    }
    part.interval = bootstrap_mean(shares, options.seed);
    report.sampled = part;
    std::vector<int> ks = options.pass_k.empty() ? std::vector<int>{options.samples} : options.pass_k;
    ks.push_back(1);
    for (int k : ks) {
      std::vector<double> values;
      for (const EvalItem& item : report.items) values.push_back(pass_at_k(item.samples, item.correct, k));
      report.pass_at[k] = mean_of(values);
      report.pass_at_interval[k] = bootstrap_mean(values, options.seed);
    }
  }
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace r1
