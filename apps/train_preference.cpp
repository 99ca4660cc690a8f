// kind: reward_model and kind: dpo. Wires pairs or labelled answers, objective, screen and the loop over examples.
#include <algorithm>
#include <optional>
#include <utility>

#include "apps/example_screen.h"
#include "apps/screen_text.h"
#include "apps/train_kind.h"
#include "apps/train_run.h"
#include "core/error.h"
#include "core/files.h"
#include "core/format.h"
#include "core/json_text.h"
#include "recipes/recipe_preference.h"
#include "rl/run_recorder.h"
#include "rl/train_samples.h"

namespace r1 {
namespace {

struct PreferenceData {
  PreferenceSet train, held_out;
  std::string line;
  std::int64_t longest = 0;
};

PreferenceData load_data(PreferenceRecipe& recipe, const ModelConfig& model, const std::shared_ptr<const Tokenizer>& tokenizer, Terminal& terminal) {
  const auto load = [&](PreferenceRowOptions rows, const std::optional<GeneratedData>& generate, const char* what) {
    if (rows.sft.max_length == 0) rows.sft.max_length = model.max_position_embeddings;
    if (rows.sft.max_length > model.max_position_embeddings)
      throw ConfigError(
          message("data.max_length is ", rows.sft.max_length, ", but the model's context has ", model.max_position_embeddings, " tokens"));
    PreferenceRows loaded = load_preference_source(rows, generate, what, tokenizer, model.eos_token_ids);
    if (!loaded.skipped.empty())
      terminal.print(message("warning: ", what, ": ", loaded.skipped.size(), " bad rows left out, the first: ", loaded.skipped.front()), true);
    if (loaded.too_long > 0) terminal.print(message("warning: ", what, ": ", loaded.too_long, " left out above data.max_length"), true);
    return std::move(loaded.set);
  };
  PreferenceData data;
  data.train = load(recipe.data.rows, recipe.data.generate, "data");
  data.held_out.pairs = data.train.pairs;
  if (recipe.validation && recipe.validation->rows) data.held_out = load(*recipe.validation->rows, recipe.validation->generate, "validation");
  if (recipe.validation && recipe.validation->share > 0) data.held_out = take_held_out(data.train, recipe.validation->share, recipe.seed);
  const char* what = data.train.pairs ? " pairs" : " labelled answers";
  const auto lengths = [&] {
    const MeanLengths m = mean_lengths(data.train);
    return message(data.train.pairs ? "chosen " : "good ", format("%.1f", m.chosen), data.train.pairs ? ", rejected " : ", bad ",
                   format("%.1f", m.rejected), " tokens");
  };
  data.line = message(with_commas(data.train.size()), what, " (", lengths(), ")");
  if (recipe.data.balance_lengths) {
    const std::int64_t gone = balance_lengths(data.train);
    data.line += message("; lengths balanced without ", gone, " of them (", lengths(), ")");
  }
  if (data.train.size() == 0) throw DataError("data: no example is left to train on");
  if (data.held_out.size() > 0) data.line += message("; validation on ", with_commas(data.held_out.size()));
  for (const PreferenceSet* set : {&data.train, &data.held_out})
    for (const TrainSample& s : set->samples) data.longest = std::max(data.longest, static_cast<std::int64_t>(s.tokens.size()));
  return data;
}

// JSON lines of the scores of held-out examples.
std::string scored_lines(const std::vector<ScoredExample>& scored, bool pairs) {
  std::string out;
  for (const ScoredExample& e : scored) {
    out += "{\"name\":" + json_quote(e.name);
    if (pairs) out += format(",\"chosen\":%.9g,\"rejected\":%.9g", e.scores[0], e.scores[1]);
    else out += format(",\"score\":%.9g,\"label\":%.9g", e.scores[0], e.label);
    out += "}\n";
  }
  return out;
}

struct ScoreFiles : TrainObserver {
  ScoreFiles(const RewardObjective& o, std::filesystem::path d, bool p) : objective(o), dir(std::move(d)), pairs(p) {}
  void on_validation(std::int64_t step, const std::map<std::string, double>&) override {
    make_directories(dir);
    write_file_atomic(dir / (step_name(step) + ".jsonl"), scored_lines(objective.scored(), pairs));
  }
  const RewardObjective& objective;
  std::filesystem::path dir;
  bool pairs;
};

int train_preference(const TrainRequest& request, bool reward_model) {
  PreferenceRecipe recipe = make_preference_recipe(request.config, reward_model);
  const char* kind = reward_model ? "reward_model" : "dpo";
  TrainRun::Setup setup{recipe.model, recipe.output, recipe.train.threads, recipe.seed, &*recipe.resolved, {}, {}, reward_model};
  setup.may_change = {"validation.every", "validation.at_start", "train.gpu_memory_share"};
  setup.ranks = recipe.train.ranks;
  TrainRun run(request, std::move(setup));
  Terminal& terminal = run.terminal();
  Backend& backend = run.backend();
  PreferenceData data = load_data(recipe, backend.config(), run.runtime().tokenizer, terminal);
  plan_updates(recipe.trainer, {}, recipe.warmup_ratio, data.train.size(), kind);
  recipe.trainer.loop.config_digest += to_hex(digest_of(data.train.samples));  // other data is another run

  RunFolder& folder = run.open_folder();
  terminal.print(example_start_block(recipe.model, backend, data.line, recipe.trainer, recipe.output, data.train.pairs ? "pairs" : "answers"));

  BackendNeeds needs = device_default();
  needs.trains = !reward_model;
  if (reward_model) needs.value = TransformerValue::Options{true, MasterStart::kExact, recipe.head_std, recipe.seed};
  needs.tokens_per_micro_batch = recipe.train.tokens_per_micro_batch, needs.recompute = recipe.train.recompute, needs.optimizer = recipe.train.optimizer;
  needs.gpu_memory_share = recipe.gpu_memory_share, needs.longest_sample = data.longest;
  needs.lora = run.adapter(recipe.lora);
  run.share(needs);
  const BackendParts made = backend.make(needs, run.runtime().tokenizer);
  for (const std::string& line : made.memory) terminal.print("  memory    " + line);
  recipe.trainer.tokens_per_micro_batch = made.tokens_per_micro_batch;

  std::unique_ptr<ExampleObjective> objective;
  std::unique_ptr<ScoreFiles> files;
  if (reward_model) {
    load_head(run.runtime().path, *made.value);
    run.join(made);
    mark_for_scores(data.train);
    mark_for_scores(data.held_out);
    const bool pairs = data.train.pairs;
    auto rewards = std::make_unique<RewardObjective>(*made.value, std::move(data.train), std::move(data.held_out), recipe.reward, &run.ranks());
    files = std::make_unique<ScoreFiles>(*rewards, folder.path() / "eval", pairs);
    objective = std::move(rewards);
  } else {
    // Before resume(): the policy still is the reference.
    make_directories(folder.path() / "cache");
    const auto with_reference = [&](PreferenceSet set, const char* name) {
      std::vector<double> ref = cached_answer_logprobs(folder.path() / "cache" / message("reference_", name, ".safetensors"), *made.policy,
                                                       made.policy->digest(), set.samples, made.tokens_per_micro_batch, run.ranks());
      return DpoObjective::Data{std::move(set), std::move(ref)};
    };
    DpoObjective::Data train = with_reference(std::move(data.train), "train"), held_out;
    if (data.held_out.size() > 0) held_out = with_reference(std::move(data.held_out), "validation");
    run.join(made);
    objective = std::make_unique<DpoObjective>(*made.policy, std::move(train), std::move(held_out), recipe.dpo, &run.ranks());
  }
  const std::vector<ShownMetric> shown = reward_model ? std::vector<ShownMetric>{{"loss", "loss", "%.4f"},
                                                                                 {"acc", "accuracy", "%.3f"},
                                                                                 {"margin", "margin", "%.3f"},
                                                                                 {"reward", "mean_reward", "%.3f"}}
                                                      : std::vector<ShownMetric>{{"loss", "loss", "%.4f"},
                                                                                 {"acc", "rewards/accuracies", "%.3f"},
                                                                                 {"margin", "rewards/margins", "%.3f"},
                                                                                 {"chosen", "rewards/chosen", "%.3f"},
                                                                                 {"rejected", "rewards/rejected", "%.3f"}};
  return run_examples(run, folder, kind, made, {objective.get()}, recipe.trainer, recipe.output, shown, files.get());
}

}  // namespace

int train_reward_model(const TrainRequest& request) { return train_preference(request, true); }
int train_dpo(const TrainRequest& request) { return train_preference(request, false); }

}  // namespace r1
