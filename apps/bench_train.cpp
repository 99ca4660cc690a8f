#include "apps/bench_train.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <ostream>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/rng.h"
#include "rl/learner.h"
#include "rl/transformer_policy.h"
#include "rollout/local_engine.h"
#include "rollout/rollout_bench.h"

namespace r1 {

namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v.size() % 2 ? v[v.size() / 2] : 0.5 * (v[v.size() / 2 - 1] + v[v.size() / 2]);
}

GrpoOptions learner_options(const TrainBenchOptions& options) {
  GrpoOptions g;
  g.optimizer.learning_rate.peak = 1e-9;  // the weights stay where they are
  g.tokens_per_micro_batch = options.tokens_per_micro_batch > 0 ? options.tokens_per_micro_batch : 4096;
  return g;
}

std::vector<TokenId> random_tokens(StreamRng& rng, int n, std::int64_t vocab) {
  std::vector<TokenId> out;
  for (int i = 0; i < n; ++i) out.push_back(static_cast<TokenId>(rng.below(static_cast<std::uint64_t>(vocab))));
  return out;
}

// Advantages that no sample has as 0, so that nothing is left out.
float advantage(int sample) { return sample % 2 == 0 ? 1.f : -1.f; }

TrainSample make_sample(const std::vector<TokenId>& prompt, const std::vector<TokenId>& answer, const std::vector<float>& logprobs,
                        std::uint64_t group, int sample) {
  TrainSample s;
  s.name = message("bench-", group, "/", sample);
  s.tokens = prompt;
  s.tokens.insert(s.tokens.end(), answer.begin(), answer.end());
  s.prompt_length = static_cast<std::int32_t>(prompt.size());
  s.group = group;
  s.loss_mask.assign(s.tokens.size(), 1);
  std::fill_n(s.loss_mask.begin(), prompt.size(), 0);
  s.behavior_logprobs.assign(s.tokens.size(), 0.f);
  std::copy(logprobs.begin(), logprobs.end(), s.behavior_logprobs.begin() + static_cast<std::ptrdiff_t>(prompt.size()));
  s.advantages.assign(s.tokens.size(), advantage(sample));
  return s;
}

nlohmann::json case_fields(const char* what, Transformer& model, const std::string& name, const TrainBenchCase& c, const TrainBenchOptions& options) {
  return {{"case", what}, {"model", name}, {"prompts", c.prompts}, {"samples", c.samples},
          {"prompt_tokens", c.prompt_tokens}, {"new_tokens", c.new_tokens}, {"shared_prompts", options.share_prompts},
          {"recompute", options.recompute}, {"isa", cpu::to_string(cpu::isa())}, {"threads", model.pool().size()}};
}

}  // namespace

void run_train_bench(Transformer& model, const std::string& name, const TrainBenchCase& c, const TrainBenchOptions& options, std::ostream& out) {
  TransformerPolicy policy(model, {options.recompute});
  GrpoLearner learner(policy, nullptr, learner_options(options));
  const std::int64_t vocab = model.vocab_limit();
  std::vector<double> times;
  for (int r = 0; r <= options.repeats; ++r) {
    std::vector<TrainSample> samples;
    StreamRng rng(7, static_cast<std::uint64_t>(r));
    for (int p = 0; p < c.prompts; ++p) {
      const auto prompt = random_tokens(rng, c.prompt_tokens, vocab);
      for (int s = 0; s < c.samples; ++s)
        samples.push_back(make_sample(prompt, random_tokens(rng, c.new_tokens, vocab), std::vector<float>(static_cast<std::size_t>(c.new_tokens), -10.f),
                                      options.share_prompts ? static_cast<std::uint64_t>(p) : static_cast<std::uint64_t>(p * c.samples + s), s));
    }
    learner.begin_rollout(std::move(samples), static_cast<std::uint64_t>(r));
    const double start = now();
    learner.update();
    if (r > 0) times.push_back(now() - start);  // the first warms up
  }
  const double seconds = median(times);
  // Tokens as peers count them: every sample with its prompt. Computed ones are fewer when prompts are shared.
  const double tokens = double(c.prompts) * c.samples * (c.prompt_tokens + c.new_tokens);
  const double computed = options.share_prompts ? double(c.prompts) * (c.prompt_tokens + double(c.samples) * c.new_tokens) : tokens;
  const ModelConfig& m = model.config();
  const double body = static_cast<double>(m.num_parameters() - m.vocab_size * m.hidden_size * (m.tie_word_embeddings ? 1 : 2));
  const double head = static_cast<double>(m.vocab_size * m.hidden_size);
  const double attention = 2.0 * static_cast<double>(m.num_hidden_layers * m.num_attention_heads * m.head_dim) * (c.prompt_tokens + c.new_tokens);
  const double trained = double(c.prompts) * c.samples * c.new_tokens;
  const double work = 3 * (computed * (2 * body + attention) + trained * 2 * head);
  const double peak = measure_flops(model.pool(), model.weights().dtype() == DType::kBF16 ? cpu::Type::kBF16 : cpu::Type::kF32);
  nlohmann::json row = case_fields("train", model, name, c, options);
  row["step_s"] = seconds;
  row["tokens_per_s"] = tokens / seconds;
  row["computed_tokens_per_s"] = computed / seconds;
  row["gflops"] = work / seconds / 1e9;
  row["peak_gflops"] = peak / 1e9;
  row["pct_of_floor"] = 100 * work / seconds / peak;
  out << row.dump() << std::endl;
}

void run_grpo_bench(Transformer& model, const std::string& name, const TrainBenchCase& c, const TrainBenchOptions& options, std::ostream& out) {
  TransformerPolicy policy(model, {options.recompute});
  GrpoLearner learner(policy, nullptr, learner_options(options));
  LocalEngine engine(model, nullptr, {});
  const std::int64_t vocab = model.vocab_limit();
  std::vector<double> step, gen;
  double mismatch = 0;
  for (int r = 0; r <= options.repeats; ++r) {
    StreamRng rng(9, static_cast<std::uint64_t>(r));
    std::vector<RolloutRequest> requests(static_cast<std::size_t>(c.prompts));
    for (std::size_t p = 0; p < requests.size(); ++p) {
      requests[p].prompt.id = message("bench-", p);
      requests[p].prompt.tokens = random_tokens(rng, c.prompt_tokens, vocab);
      requests[p].samples = c.samples;
      requests[p].sampling.max_new_tokens = c.new_tokens;
      requests[p].sampling.ignore_eos = true;
      requests[p].key = {1, static_cast<std::uint64_t>(r), p, 0};
    }
    const double start = now();
    const std::vector<SampleGroup> groups = generate(engine, std::move(requests));
    const double generated = now();
    std::vector<TrainSample> samples;
    for (std::size_t g = 0; g < groups.size(); ++g)
      for (std::size_t s = 0; s < groups[g].completions.size(); ++s)
        samples.push_back(make_sample(groups[g].prompt.tokens, groups[g].completions[s].tokens, groups[g].completions[s].logprobs, g, static_cast<int>(s)));
    learner.begin_rollout(std::move(samples), static_cast<std::uint64_t>(r));
    const StepReport report = learner.update();
    engine.load_weights(learner.publish());
    if (r == 0) continue;
    gen.push_back(generated - start);
    step.push_back(now() - start);
    if (const auto it = report.metrics.find("mismatch/max_abs_logp"); it != report.metrics.end()) mismatch = std::max(mismatch, it->second);
  }
  const double tokens = double(c.prompts) * c.samples * c.new_tokens;
  nlohmann::json row = case_fields("grpo", model, name, c, options);
  row["step_s"] = median(step);
  row["generate_s"] = median(gen);
  row["train_s"] = median(step) - median(gen);
  row["tokens_per_s"] = tokens / median(step);
  row["generate_tokens_per_s"] = tokens / median(gen);
  row["mismatch_max_abs_logp"] = mismatch;
  out << row.dump() << std::endl;
}

}  // namespace r1
