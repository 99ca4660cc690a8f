// kind: sft. Wires examples, learner, evaluation and screen of supervised fine-tuning.
#include <algorithm>
#include <utility>

#include "apps/example_screen.h"
#include "apps/reward_context.h"
#include "apps/screen_text.h"
#include "apps/sft_data.h"
#include "apps/train_kind.h"
#include "apps/train_run.h"
#include "core/digest.h"
#include "core/error.h"
#include "core/format.h"
#include "recipes/recipe_distill.h"
#include "sft/sft_objective.h"

namespace r1 {
SftData load_sft_data(SftRecipe& recipe, const ModelConfig& model, const std::shared_ptr<const Tokenizer>& tokenizer, Terminal& terminal) {
  SftData data;
  std::int64_t rows = 0, cut = 0, left_out = 0, split = 0;
  const auto load = [&](SftSource& source, const char* what) {
    std::int64_t& limit = source.rows.max_length;
    if (limit == 0) limit = model.max_position_embeddings;
    if (limit > model.max_position_embeddings)
      throw ConfigError(message("data.max_length is ", limit, ", but the model's context has ", model.max_position_embeddings, " tokens"));
    SftRows loaded = load_sft_source(source, what, tokenizer, model.eos_token_ids);
    if (!loaded.skipped.empty())
      terminal.print(message("warning: ", what, ": ", loaded.skipped.size(), " bad rows left out, the first: ", loaded.skipped.front()), true);
    rows += loaded.rows, cut += loaded.truncated, left_out += loaded.too_long, split += loaded.split;
    return std::move(loaded.examples);
  };
  for (SftSource& source : recipe.data.sources) {
    std::vector<SftExample> part = load(source, "data");
    if (recipe.validation && recipe.validation->share > 0) {
      std::vector<SftExample> held = take_validation(part, recipe.validation->share, recipe.seed);
      std::move(held.begin(), held.end(), std::back_inserter(data.validation));
    }
    data.parts.push_back({static_cast<std::int64_t>(part.size()), source.weight});
    std::move(part.begin(), part.end(), std::back_inserter(data.examples));
  }
  std::int64_t tokens = 0, trained = 0;
  for (const SftExample& e : data.examples) tokens += static_cast<std::int64_t>(e.tokens.size()), trained += trained_tokens(e);
  data.line = message(with_commas(rows), " rows, ", with_commas(static_cast<std::int64_t>(data.examples.size())), " examples of ",
                      format("%.1f", static_cast<double>(tokens) / static_cast<double>(data.examples.size())), " tokens, ",
                      format("%.0f", 100.0 * static_cast<double>(trained) / static_cast<double>(tokens)), " % trained");
  if (cut + left_out > 0)
    terminal.print(message("warning: data.max_length: ", cut, " examples cut, ", left_out, " left out (data.overlong)"), true);
  if (split > 0)
    terminal.print(
        message("note: ", split, " conversations became one example a turn: the template writes earlier turns differently once others follow"));
  if (recipe.validation && recipe.validation->source) data.validation = load(*recipe.validation->source, "validation");
  if (!data.validation.empty()) data.line += message("; validation on ", data.validation.size());
  for (const auto* list : {&data.examples, &data.validation})
    for (const SftExample& e : *list) data.longest = std::max(data.longest, static_cast<std::int64_t>(e.tokens.size()));
  return data;
}

namespace {

// One example with what is trained in colour, or in double brackets where there is none.
std::string preview(const SftExample& example, const Tokenizer& tokenizer, Terminal& terminal) {
  const std::string text = marked_text(example, tokenizer, [&](const std::string& piece) {
    return terminal.colour() ? terminal.paint(piece, "32") : "[[" + piece + "]]";
  });
  std::string out = message("  preview   ", example.name, ", trained text ", terminal.colour() ? "in green" : "in [[ ]]", ":\n    ");
  constexpr std::size_t kShown = 4000;
  const std::string shown = text.size() > kShown ? cut_to_width(text, kShown) : text;
  for (char c : shown) out += c == '\n' ? "\n    " : std::string(1, c);
  return out;
}

// Other data is another run.
std::string data_digest(const SftData& data) {
  Hasher h;
  for (const SftExample& e : data.examples) {
    h.update(e.tokens.data(), e.tokens.size() * sizeof(TokenId));
    h.update(e.loss_mask.data(), e.loss_mask.size());
  }
  return to_hex(h.digest());
}

}  // namespace

std::vector<Prompt> load_eval_prompts(const SftRecipe& recipe, const ModelConfig& model, const std::shared_ptr<const Tokenizer>& tokenizer,
                                      SftData& data) {
  if (!recipe.eval_data) return {};
  std::vector<Prompt> prompts = load_recipe_prompts(*recipe.eval_data, "eval", tokenizer, *recipe.rubric).prompts;
  const int new_tokens = recipe.trainer.eval.sampling.max_new_tokens;
  for (const Prompt& p : prompts) data.longest = std::max(data.longest, std::ssize(p.tokens) + new_tokens);
  if (data.longest > model.max_position_embeddings)
    throw ConfigError(message("eval: a prompt with eval.max_new_tokens ", new_tokens, " needs a context of ", data.longest, ", the model has ",
                              model.max_position_embeddings, "; lower eval.max_new_tokens"));
  return prompts;
}

ExampleTrainer::Parts sampled_evaluation(ExampleObjective& objective, const BackendParts& made, std::vector<Prompt> prompts,
                                         const std::shared_ptr<const Rubric>& rubric) {
  ExampleTrainer::Parts parts{&objective};
  parts.engine = made.engine.get();
  parts.policy = made.policy.get();
  parts.eval_prompts = std::move(prompts);
  parts.scorer = [rubric](const SampleGroup& group) { return rubric->score(group); };
  return parts;
}

int train_sft(const TrainRequest& request) {
  const bool distill = request.config.peek("kind") == "distill";
  SftRecipe recipe = distill ? make_distill_sft_recipe(request.config, reward_context()) : make_sft_recipe(request.config, reward_context());
  TrainRun::Setup setup{recipe.model, recipe.output, recipe.train.threads, recipe.seed, &*recipe.resolved, {}, recipe.warnings};
  setup.may_change = {"rewards", "validation.every", "validation.at_start", "train.gpu_memory_share"};
  setup.ranks = recipe.train.ranks, setup.shares_model = !distill;
  if (recipe.trainer.optimizer.learning_rate.schedule == LrSchedule::kConstant)
    setup.may_change.insert(setup.may_change.end(), {"sft.steps", "sft.epochs"});
  TrainRun run(request, std::move(setup));
  Terminal& terminal = run.terminal();
  Backend& backend = run.backend();
  const std::shared_ptr<const Tokenizer> tokenizer = run.runtime().tokenizer;

  SftData data = load_sft_data(recipe, backend.config(), tokenizer, terminal);
  ExampleStream stream(data.parts, recipe.seed, recipe.trainer.shuffle);
  recipe.trainer.parts = data.parts;
  plan_updates(recipe.trainer, recipe.steps, recipe.warmup_ratio, stream.epoch_size(), "sft");
  recipe.trainer.loop.config_digest += data_digest(data);
  std::vector<Prompt> eval_prompts = load_eval_prompts(recipe, backend.config(), tokenizer, data);

  RunFolder& folder = run.open_folder();
  if (!eval_prompts.empty()) data.line += message("; evaluation on ", eval_prompts.size());
  terminal.print(example_start_block(recipe.model, backend, data.line, recipe.trainer, recipe.output, "examples"));
  terminal.print(preview(data.examples[static_cast<std::size_t>(stream.at(0))], *tokenizer, terminal));

  BackendNeeds needs = device_default();
  needs.trains = true;
  needs.tokens_per_micro_batch = recipe.train.tokens_per_micro_batch, needs.recompute = recipe.train.recompute, needs.optimizer = recipe.train.optimizer;
  needs.gpu_memory_share = recipe.gpu_memory_share, needs.longest_sample = data.longest;
  needs.lora = run.adapter(recipe.lora);
  run.share(needs);
  const BackendParts made = backend.make(needs, tokenizer);
  for (const std::string& line : made.memory) terminal.print("  memory    " + line);
  recipe.trainer.tokens_per_micro_batch = made.tokens_per_micro_batch;

  run.join(made);
  SftObjective objective(*made.policy, std::move(data.examples), std::move(data.validation), &run.ranks());
  objective.set_prediction_loss(recipe.mtp_loss);
  return run_examples(run, folder, "sft", made, sampled_evaluation(objective, made, std::move(eval_prompts), recipe.rubric), recipe.trainer, recipe.output,
                      {{"loss", "loss", "%.4f"}, {"acc", "mean_token_accuracy", "%.3f"}, {"entropy", "entropy", "%.3f"}}, nullptr);
}

}  // namespace r1
