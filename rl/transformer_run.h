// A whole training run of a tiny random transformer for tests: LocalEngine, learner, trainer, HF checkpoints.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/files.h"
#include "model/transformer.h"
#include "rl/host_lora.h"
#include "rl/ranked_checkpoints.h"
#include "rl/test_support.h"
#include "rl/trainer.h"
#include "rl/transformer_policy.h"
#include "rl/value_model.h"
#include "rollout/local_engine.h"

namespace r1::test {

struct TransformerRunOptions {
  GrpoOptions grpo;
  TrainerOptions trainer;
  DType dtype = DType::kBF16;
  LocalEngineOptions engine;
  int threads = 1;
  bool lora = false;  // train pairs of rank 4 instead of all parameters
  std::string config = "tests/golden/trl_tiny/config.json";  // of the model, from the source folder
  std::int64_t prediction_layers = 0;  // multi-token prediction
  bool stream_rewards = false;  // completions are scored by themselves
  Scorer scorer;                // empty = score_even
  std::function<std::unique_ptr<RolloutEngine>(RolloutEngine&)> around_engine;  // what the trainer gets in its place
  Session* session = nullptr;  // of a run on several ranks
  int lanes = 0, zero = 0, tensor_parallel = 1, sequence_parallel = 1, expert_parallel = 1;
  bool wide = false;  // a model of about a million parameters instead of the tiny one: several pieces of a partition
  std::vector<std::pair<std::string, std::string>> config_edits;  // texts of config.json and what stands in their place
};

// Six steps of two updates a rollout with a reference that is refreshed; every part of the state is in use.
inline TransformerRunOptions tiny_options() {
  TransformerRunOptions o;
  o.trainer.seed = 11;
  o.trainer.steps = 6;
  o.trainer.prompts_per_rollout = 4;
  o.trainer.samples_per_prompt = 4;
  o.trainer.sampling.max_new_tokens = 10;
  o.trainer.sampling.want_entropy = true;
  o.trainer.save_every = 2;
  o.trainer.eval_every = 0;
  o.trainer.eval_at_start = false;
  o.grpo.seed = 11;
  o.grpo.length_budget = 10;
  o.grpo.updates_per_rollout = 2;
  o.grpo.optimizer.learning_rate.peak = 2e-3;
  o.grpo.loss.kl_coefficient = 0.02;
  o.grpo.reference_refresh = 3;
  o.grpo.tokens_per_micro_batch = 64;
  o.engine.kv_cache_bytes = 1 << 20;
  o.engine.max_rows = 6;  // several waves
  return o;
}

// The share of even tokens: easy to raise.
inline std::vector<Score> score_even(const SampleGroup& g) {
  std::vector<Score> out;
  for (const Completion& c : g.completions) {
    Score s;
    for (TokenId t : c.tokens) s.value += t % 2 == 0 ? 1.f / static_cast<float>(c.tokens.size()) : 0.f;
    s.parts["even"] = s.value;
    s.verdict = s.value > 0.5f ? Verdict::kCorrect : Verdict::kWrong;
    out.push_back(std::move(s));
  }
  return out;
}

struct TransformerRun {
  TransformerRun(const TransformerRunOptions& o, const std::filesystem::path& folder,
                 std::vector<TrainObserver*> observers = {})
      : pool(o.threads), sampling_pool(o.threads), ranks(std::make_unique<Ranks>(o.session, o.lanes, o.tensor_parallel, o.sequence_parallel, o.expert_parallel)) {
    std::string json = read_file(std::filesystem::path(R1_SOURCE_DIR) / o.config);
    if (o.wide)
      for (const auto& [from, to] : {std::pair{"\"hidden_size\": 32", "\"hidden_size\": 128"}, {"\"intermediate_size\": 48", "\"intermediate_size\": 512"},
                                     {"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 4"}})
        json.replace(json.find(from), std::string_view(from).size(), to);
    for (const auto& [from, to] : o.config_edits) json.replace(json.find(from), from.size(), to);
    ModelConfig config = ModelConfig::from_json(json, "config.json");
    config.num_mtp_layers = o.prediction_layers;
    model = std::make_unique<Transformer>(config, o.dtype, pool, ranks->parallel());
    init_random(model->weights(), 5, 0.2f);
    model->weights_changed();
    if (o.lora) policy = with_lora(*model, TransformerPolicy::Options{}, LoraAdapter(config, LoraOptions{4, 8, {"all-linear"}, false, 1}));
    else policy = std::make_unique<TransformerPolicy>(*model);
    reference_model = std::make_unique<Transformer>(config, o.dtype, pool, ranks->parallel());
    init_random(reference_model->weights(), 5, 0.2f);
    reference_model->weights_changed();
    reference = std::make_unique<TransformerReference>(*reference_model);
    GrpoOptions grpo = o.grpo;
    if (o.trainer.async.max_staleness > 0) {
      grpo.stale_samples = true;
      sampled_model = std::make_unique<Transformer>(config, o.dtype, sampling_pool);
    }
    engine = std::make_unique<LocalEngine>(sampled_model ? *sampled_model : *model, nullptr, o.engine);
    if (o.around_engine) outer_engine = o.around_engine(*engine);
    if (o.grpo.critic) {
      critic_model = std::make_unique<Transformer>(config, o.dtype, pool);
      init_random(critic_model->weights(), 5, 0.2f);
      critic_model->weights_changed();
      critic = std::make_unique<TransformerValue>(*critic_model, TransformerValue::Options{});
    }
    if (o.session) {
      policy->join(ranks->gradient_session(), o.zero);
      if (ranks->expert_session()) policy->join_experts(*ranks->expert_session());
      if (critic) critic->join(*o.session, o.zero);
    }
    learner = std::make_unique<GrpoLearner>(*policy, reference.get(), grpo, critic.get(), ranks.get());
    std::vector<Prompt> list;
    StreamRng rng(17, 0);
    for (int i = 0; i < 6; ++i) {
      std::vector<TokenId> tokens;
      for (std::uint64_t k = 0, n = 3 + rng.below(20); k < n; ++k)
        tokens.push_back(static_cast<TokenId>(2 + rng.below(46)));
      list.push_back(make_prompt("p" + std::to_string(i), tokens));
    }
    prompts = std::make_unique<ShuffledPrompts>(list, o.trainer.seed);
    source = list;
    Trainer::Parts parts;
    parts.learner = learner.get();
    parts.engine = outer_engine ? outer_engine.get() : engine.get();
    parts.prompts = prompts.get();
    parts.scorer = o.scorer ? o.scorer : score_even;
    if (o.stream_rewards) parts.completion_scorer = parts.scorer;
    parts.eval_prompts = list;
    parts.observers = std::move(observers);
    if (!folder.empty()) {
      SaveCheckpointOptions save;
      save.dtype = o.dtype;
      store = std::make_unique<ModelCheckpointStore>(folder / "checkpoints", config, save);
      ranked_store = std::make_unique<RankedCheckpoints>(*store, *ranks);
      parts.checkpoints = ranked_store.get();
      parts.journal = folder / "journal";
    }
    parts.ranks = ranks.get();
    TrainerOptions trainer_options = o.trainer;
    trainer_options.sampling.want_experts = o.grpo.router.replay;
    trainer = std::make_unique<Trainer>(parts, trainer_options);
  }

  ComputePool pool, sampling_pool;
  std::unique_ptr<Ranks> ranks;
  std::unique_ptr<Transformer> model, reference_model, critic_model, sampled_model;  // the last: with async.max_staleness above 0
  std::unique_ptr<PolicyModel> policy;
  std::unique_ptr<TransformerReference> reference;
  std::unique_ptr<TransformerValue> critic;  // with options.grpo.critic
  std::unique_ptr<LocalEngine> engine;
  std::unique_ptr<RolloutEngine> outer_engine;
  std::unique_ptr<GrpoLearner> learner;
  std::vector<Prompt> source;
  std::unique_ptr<ShuffledPrompts> prompts;
  std::unique_ptr<ModelCheckpointStore> store;
  std::unique_ptr<RankedCheckpoints> ranked_store;
  std::unique_ptr<Trainer> trainer;
};

// The first `steps` updates of the run, left in `folder` for another process to go on from.
inline void run_cut(TransformerRunOptions o, std::int64_t steps, const std::filesystem::path& folder) {
  o.trainer.steps = steps;
  TransformerRun run(o, folder);
  run.trainer->run();
}

}  // namespace r1::test
