// kind: sft. Wires examples, learner, evaluation and screen of supervised fine-tuning.
#include <algorithm>
#include <utility>

#include "apps/reward_context.h"
#include "apps/screen_text.h"
#include "apps/sft_data.h"
#include "apps/train_kind.h"
#include "apps/train_run.h"
#include "core/digest.h"
#include "core/error.h"
#include "core/format.h"
#include "core/progress.h"
#include "core/signals.h"
#include "recipes/recipe_distill.h"
#include "rl/run_recorder.h"

namespace r1 {
namespace {

class SftScreen : public TrainObserver {
 public:
  SftScreen(Terminal& terminal, const SftRecipe& recipe, std::int64_t first_step)
      : terminal_(terminal), recipe_(recipe), progress_(terminal, {recipe.trainer.loop.steps, first_step, Progress::Clock::now}), started_(now_s()) {}

  void on_step(const StepRecord& record) override {
    std::string line = step_text(record.step, recipe_.trainer.loop.steps);
    add_metric(line, record, "loss", "loss", "%.4f");
    add_metric(line, record, "acc", "mean_token_accuracy", "%.3f");
    add_metric(line, record, "entropy", "entropy", "%.3f");
    add_metric(line, record, "grad", "grad_norm", "%.2f");
    add_metric(line, record, "lr", "learning_rate", "%.3g");
    add_metric(line, record, "epoch", "epoch", "%.2f");
    add_metric(line, record, "tok/s", "perf/throughput", "%.0f");
    progress_.step_done(record.step, line);
  }
  void on_validation(std::int64_t step, const std::map<std::string, double>& metrics) override {
    std::string line = message("  validation at ", step, ":", format("  loss %.4f", metrics.at("eval/loss")));
    if (const auto it = metrics.find("eval/mean_token_accuracy"); it != metrics.end()) line += format("  acc %.3f", it->second);
    if (!first_loss_) first_loss_ = metrics.at("eval/loss");
    last_loss_ = metrics.at("eval/loss");
    terminal_.print(terminal_.paint(line, "1"));
  }
  void on_evaluation(std::int64_t step, const EvalReport& report) override {
    accuracy_.add(step, report);
    terminal_.print(terminal_.paint(eval_line(step, report, recipe_.trainer.eval.sampling.temperature), "1"));
  }
  void on_checkpoint(std::int64_t, const std::filesystem::path& path) override { checkpoint_ = path; }
  void on_message(const std::string& text) override { terminal_.print("  " + text); }

  void finish(bool interrupted) {
    terminal_.set_status("");
    std::string out = message(interrupted ? "stopped" : "done", " after ", human_duration(now_s() - started_), "\n");
    if (first_loss_) out += format("  validation loss %.4f -> %.4f\n", *first_loss_, last_loss_);
    terminal_.print(out + accuracy_.line() + closing_lines(recipe_.output.dir, checkpoint_, interrupted), true);
  }

 private:
  Terminal& terminal_;
  const SftRecipe& recipe_;
  Progress progress_;
  AccuracyChange accuracy_;
  std::optional<double> first_loss_;
  double last_loss_ = 0;
  std::filesystem::path checkpoint_;
  double started_;
};

}  // namespace

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

std::string start_block(const SftRecipe& recipe, const ModelConfig& model, const std::string& device, const SftData& data, std::size_t prompts) {
  std::string out;
  const auto row = [&](const char* name, const std::string& text) { out += format("  %-9s ", name) + text + "\n"; };
  const SftTrainerOptions& t = recipe.trainer;
  const LrOptions& lr = recipe.learner.optimizer.learning_rate;
  row("model", model_text(recipe.model, model));
  row("device", device);
  row("data", data.line + (prompts > 0 ? message("; evaluation on ", prompts) : ""));
  row("updates", message(t.loop.steps, " updates of ", t.examples_per_update, " examples, learning rate ", lr.peak, ", ", lr.warmup, " warm-up"));
  row("output", recipe.output.dir.string());
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

int train_sft(const TrainRequest& request) {
  const bool distill = request.config.peek("kind") == "distill";
  SftRecipe recipe = distill ? make_distill_sft_recipe(request.config, reward_context()) : make_sft_recipe(request.config, reward_context());
  TrainRun::Setup setup{recipe.model, recipe.output, recipe.train.threads, recipe.seed, &*recipe.resolved, {}, recipe.warnings};
  setup.may_change = {"rewards", "validation.every", "validation.at_start", "train.gpu_memory_share"};
  if (recipe.learner.optimizer.learning_rate.schedule == LrSchedule::kConstant)
    setup.may_change.insert(setup.may_change.end(), {"sft.steps", "sft.epochs"});
  TrainRun run(request, std::move(setup));
  Terminal& terminal = run.terminal();
  Backend& backend = run.backend();
  const std::shared_ptr<const Tokenizer> tokenizer = run.runtime().tokenizer;

  SftData data = load_sft_data(recipe, backend.config(), tokenizer, terminal);
  ExampleStream stream(data.parts, recipe.seed, recipe.data.shuffle);
  plan_updates(recipe, stream.epoch_size());
  recipe.trainer.loop.config_digest += data_digest(data);
  std::vector<Prompt> eval_prompts;
  if (recipe.eval_data) eval_prompts = load_recipe_prompts(*recipe.eval_data, "eval", tokenizer, *recipe.rubric).prompts;
  for (const Prompt& p : eval_prompts)
    data.longest = std::max(data.longest, static_cast<std::int64_t>(p.tokens.size()) + recipe.trainer.eval.sampling.max_new_tokens);
  if (data.longest > backend.config().max_position_embeddings)
    throw ConfigError(message("eval: a prompt with eval.max_new_tokens ", recipe.trainer.eval.sampling.max_new_tokens, " needs a context of ",
                              data.longest, ", the model has ", backend.config().max_position_embeddings, "; lower eval.max_new_tokens"));

  RunFolder& folder = run.open_folder();
  terminal.print(start_block(recipe, backend.config(), backend.line(), data, eval_prompts.size()));
  terminal.print(preview(data.examples[static_cast<std::size_t>(stream.at(0))], *tokenizer, terminal));

  BackendNeeds needs = device_default();
  needs.trains = true;
  needs.tokens_per_micro_batch = recipe.train.tokens_per_micro_batch, needs.recompute = recipe.train.recompute, needs.optimizer = recipe.train.optimizer;
  needs.gpu_memory_share = recipe.gpu_memory_share, needs.longest_sample = data.longest;
  if (recipe.lora) needs.arena_parts = ArenaParts::kGradient;
  BackendParts made = backend.make(needs, tokenizer);
  for (const std::string& line : made.memory) terminal.print("  memory    " + line);
  const std::unique_ptr<PolicyModel> policy = run.trained(std::move(made.policy), recipe.lora);
  recipe.learner.tokens_per_micro_batch = made.tokens_per_micro_batch;
  SftLearner learner(*policy, recipe.learner);

  ModelCheckpointStore checkpoints = run.checkpoints();
  SftTrainer::Parts parts;
  parts.learner = &learner;
  parts.stream = &stream;
  parts.examples = &data.examples;
  parts.validation = std::move(data.validation);
  parts.engine = made.engine.get();
  parts.eval_prompts = std::move(eval_prompts);
  parts.scorer = [&](const SampleGroup& group) { return recipe.rubric->score(group); };
  parts.checkpoints = &checkpoints;
  parts.peak_gb = [&] { return backend.peak_gb(); };
  SftTrainer trainer(std::move(parts), recipe.trainer);

  const std::optional<std::int64_t> resumed = trainer.resume();
  if (resumed) terminal.print(message("  resuming  at step ", *resumed));
  if (folder.state() == RunFolder::State::kFinished && trainer.step() >= recipe.trainer.loop.steps) {
    terminal.print(
        message("this run is finished (", trainer.step(), " of ", recipe.trainer.loop.steps, " updates); use --overwrite or another output.dir"),
        true);
    return 0;
  }
  MetricsWriter metrics = run.metrics(resumed);
  RunRecorder::Options recorder_options;
  recorder_options.samples_every = 0;
  recorder_options.eval_items = folder.path() / "eval";
  RunRecorder recorder(&metrics, recorder_options);
  SftScreen screen(terminal, recipe, trainer.step());
  trainer.add_observer(&recorder);
  trainer.add_observer(&screen);
  return run_to_end(trainer, metrics, folder, screen);
}

}  // namespace r1
