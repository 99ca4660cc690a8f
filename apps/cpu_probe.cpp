#include "apps/cpu_probe.h"

#include <algorithm>
#include <chrono>
#include <functional>

#include "core/compute_pool.h"
#include "core/cpu_time.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/rng.h"
#include "rl/learner.h"
#include "rl/transformer_policy.h"
#include "rollout/local_engine.h"

namespace r1 {
namespace {

constexpr double kEnough = 40e6;   // parameters of the cut model, or two layers
constexpr double kTooMany = 250e6;
constexpr int kPrompt = 32, kFew = 8, kMany = 64, kSteps = 8, kTrained = 512, kSequence = 64;

// Seconds by the clock and of the processors, over everything of one kind that was tried.
struct Clocks {
  double clock = 0, processors = 0;
  // Processor seconds of f.
  double time(const std::function<void()>& f) {
    const auto start = std::chrono::steady_clock::now();
    const double cpu = process_cpu_seconds();
    f();
    const double used = process_cpu_seconds() - cpu;
    clock += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), processors += used;
    return used;
  }
  double ratio(int threads) const { return processors > 0 ? clock / processors : 1.0 / threads; }
};

ModelConfig cut(const ModelConfig& config) {
  ModelConfig out = config;
  const auto with = [&](std::int64_t layers) {
    out.num_hidden_layers = layers;
    return static_cast<double>(out.num_parameters());
  };
  std::int64_t layers = std::min<std::int64_t>(2, config.num_hidden_layers);
  while (layers < config.num_hidden_layers && with(layers + 1) <= kEnough) ++layers;
  out.num_hidden_layers = layers;
  return out;
}

class Probe {
 public:
  Probe(const ModelConfig& config, DType dtype, int threads) : pool_(threads), model_(config, dtype, pool_) { model_.weights_changed(); }

  Clocks sampling, learning;

  // Processor seconds of `sequences` different prompts, `new_tokens` tokens each.
  double draw(int sequences, int new_tokens) {
    if (!engine_) engine_.emplace(model_, nullptr, LocalEngineOptions{});
    std::vector<RolloutRequest> requests(static_cast<std::size_t>(sequences));
    for (std::size_t i = 0; i < requests.size(); ++i) {
      RolloutRequest& r = requests[i];
      r.prompt.id = message("probe-", i);
      r.prompt.tokens = tokens(kPrompt);
      r.sampling.max_new_tokens = new_tokens, r.sampling.ignore_eos = true;
      r.key = {1, run_, i, 0};
    }
    ++run_;
    return sampling.time([&] { generate(*engine_, std::move(requests)); });
  }

  // The same of one update from so many samples, every token of them predicted.
  double learn(int samples, int length) {
    if (!learner_) {
      engine_.reset();
      policy_.emplace(model_, TransformerPolicy::Options{false});
      GrpoOptions options;
      options.optimizer.learning_rate.peak = 1e-9;
      options.tokens_per_micro_batch = 4096;
      learner_.emplace(*policy_, nullptr, options);
    }
    std::vector<TrainSample> set(static_cast<std::size_t>(samples));
    for (std::size_t i = 0; i < set.size(); ++i) {
      TrainSample& s = set[i];
      s.name = message("probe-", i);
      s.tokens = tokens(length);
      s.prompt_length = 1, s.group = i;
      s.loss_mask.assign(s.tokens.size(), 1), s.loss_mask[0] = 0;
      s.behavior_logprobs.assign(s.tokens.size(), -10.f), s.behavior_logprobs[0] = 0;
      s.advantages.assign(s.tokens.size(), i % 2 == 0 ? 1.f : -1.f);
    }
    learner_->begin_rollout(std::move(set), run_++);
    return learning.time([&] { learner_->update(); });
  }

 private:
  std::vector<TokenId> tokens(int n) {
    std::vector<TokenId> out;
    for (int i = 0; i < n; ++i) out.push_back(static_cast<TokenId>(rng_.below(static_cast<std::uint64_t>(model_.vocab_limit()))));
    return out;
  }

  ComputePool pool_;
  Transformer model_;
  StreamRng rng_{1, 1};
  std::optional<LocalEngine> engine_;
  std::optional<TransformerPolicy> policy_;
  std::optional<GrpoLearner> learner_;
  std::uint64_t run_ = 0;
};

constexpr double kQuick = 0.05;  // seconds

double best_of(int times, const std::function<double()>& f) {
  double best = f();
  while (--times > 0) best = std::min(best, f());
  return best;
}

}  // namespace

std::optional<ModelSpeeds> probe_cpu(const ModelSize& model, DType dtype, const DeviceRates& rates) {
  if (!model.config) return std::nullopt;
  const ModelSize small = size_of(cut(*model.config), model.name);
  if (small.parameters > kTooMany) return std::nullopt;
  if (const auto free = static_cast<double>(available_memory()); free > 0 && 40 * small.parameters > free) return std::nullopt;
  Probe probe(*small.config, dtype, rates.threads);
  ModelSpeeds s = speeds_of(model, rates);
  const double larger = model.active / small.active;

  probe.draw(kFew, 2);  // warms up
  const double first = best_of(2, [&] { return probe.draw(kMany, 1); });
  const int steps = first < kQuick ? 6 * kSteps : kSteps;  // of a small model more, for the clock's sake
  const auto step_of = [&](int rows, double prompts) { return std::max(0.0, probe.draw(rows, 1 + steps) - prompts) / steps; };
  const double few = best_of(2, [&] { return step_of(kFew, first * kFew / kMany); });
  const double many = best_of(2, [&] { return step_of(kMany, first); });
  s.token = std::max(0.0, many - few) / (kMany - kFew) * larger;
  s.step = std::max(0.0, few * larger - kFew * s.token);
  // Each prompt's last token meets the head too.
  const double body = (small.active - small.head) * kPrompt, head = small.head;
  s.prompt_token = first / kMany / (body + head) * (model.active - model.head);

  probe.learn(1, 8);
  const double update = best_of(2, [&] { return probe.learn(2, 8); });
  const double whole = best_of(2, [&] { return probe.learn(kTrained / kSequence, kSequence); });
  // The head's rows are computed twice on the way forward: 8 operations a parameter, 6 in the layers.
  const double flop = std::max(0.0, whole - update) / (kTrained * (6 * (small.active - small.head) + 8 * small.head));
  s.train_row = flop * 6 * (model.active - model.head), s.train_predictor = flop * 8 * model.head;
  s.update = update * model.parameters / small.parameters;
  s.sample_clock = probe.sampling.ratio(rates.threads), s.train_clock = probe.learning.ratio(rates.threads);
  return s;
}

}  // namespace r1
