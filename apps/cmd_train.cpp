// r1 train: one GRPO run from a recipe: opens or resumes the run folder, wires the parts, shows the run.
#include <algorithm>
#include <cstdio>

#include "apps/command.h"
#include "apps/reward_context.h"
#include "apps/runtime.h"
#include "apps/train_screen.h"
#include "core/error.h"
#include "core/log.h"
#include "core/metrics.h"
#include "core/run_folder.h"
#include "core/signals.h"
#include "core/machine.h"
#include "core/terminal.h"
#include "model/hf_directory.h"
#include "model/gguf_model.h"
#include "recipes/data_section.h"
#include "recipes/recipe.h"
#include "rl/audit_recorder.h"
#include "rl/run_recorder.h"

namespace r1 {

namespace {

// Every prompt with its answer must fit the model's context.
// The longest of them, answer included.
std::int64_t check_context(const std::vector<Prompt>& prompts, const Recipe& recipe, const ModelConfig& model, const char* what) {
  std::int64_t longest = 0;
  for (const Prompt& p : prompts) {
    const auto need = static_cast<std::int64_t>(p.tokens.size()) + recipe.trainer.sampling.max_new_tokens;
    if (need > model.max_position_embeddings)
      throw ConfigError(message(what, ": prompt ", p.id, " has ", p.tokens.size(), " tokens; with rollout.max_new_tokens ",
                                recipe.trainer.sampling.max_new_tokens, " it needs a context of ", need, ", the model has ",
                                model.max_position_embeddings, "; lower max_new_tokens or set data.max_prompt_tokens"));
    longest = std::max(longest, need);
  }
  return longest;
}

int train(const Recipe& recipe, const Globals& globals, bool overwrite, const std::string& command_line) {
  Terminal::Options screen_options;
  screen_options.quiet = globals.quiet;
  Terminal terminal(screen_options);
  for (const std::string& warning : recipe.warnings) terminal.print("warning: " + warning, true);

  const int threads = globals.threads > 0 ? globals.threads : recipe.threads;
  Runtime run = open_model(recipe.model.path, recipe.model.dtype, threads, recipe.model.device);
  Backend& backend = *run.backend;
  std::int64_t longest = 0;  // sample, in tokens
  const auto load = [&](const DataSection& section, const char* what) {
    RecipePrompts loaded = load_recipe_prompts(section, what, run.tokenizer, *recipe.rubric);
    if (!loaded.skipped.empty())
      terminal.print(message("warning: ", what, ": ", loaded.skipped.size(), " bad rows left out, the first: ", loaded.skipped.front()), true);
    longest = std::max(longest, check_context(loaded.prompts, recipe, backend.config(), what));
    return std::move(loaded.prompts);
  };
  std::vector<Prompt> prompts = load(recipe.data, "data"), eval_prompts;
  if (recipe.eval_data) eval_prompts = load(*recipe.eval_data, "eval");

  RunEnvironment environment;
  environment.command_line = command_line;
  environment.cpu = cpu_line();
  environment.device = backend.device();
  environment.threads = run.pool->size();
  environment.seed = recipe.trainer.seed;
  RunFolder::Options folder_options;
  folder_options.overwrite = overwrite;
  folder_options.may_change = {"output", "eval", "audit", "train.threads", "train.reward_threads", "train.recompute", "train.numerics", "model.device", "rollout.gpu_memory_share"};
  if (recipe.learner.optimizer.learning_rate.schedule == LrSchedule::kConstant) folder_options.may_change.emplace_back("rl.steps");
  RunFolder folder(recipe.output.dir, *recipe.resolved, environment, folder_options);
  const LogScope log({&terminal, LogLevel::kWarning, folder.log(), LogLevel::kDebug});

  terminal.print(start_block(recipe, backend.config(), backend.line(), prompts.size(), eval_prompts.size()));

  BackendNeeds needs;
  needs.engine = recipe.engine;
  needs.trains = true, needs.reference = recipe.learner.needs_reference();
  needs.tokens_per_micro_batch = recipe.tokens_per_micro_batch, needs.recompute = recipe.recompute;
  needs.master_start = recipe.policy.master_start;
  needs.gpu_memory_share = recipe.gpu_memory_share, needs.longest_sample = longest;
  const BackendParts made = backend.make(needs, run.tokenizer);
  for (const std::string& line : made.memory) terminal.print("  memory    " + line);
  GrpoOptions learner_options = recipe.learner;
  learner_options.tokens_per_micro_batch = made.tokens_per_micro_batch;
  GrpoLearner learner(*made.policy, made.reference.get(), learner_options);

  SaveCheckpointOptions save;
  save.dtype = recipe.model.dtype;
  save.keep = recipe.output.keep;
  if (is_gguf(run.path)) save.side_files = GgufModel(run.path).side_files();
  else save.side_files_from = run.path;
  ModelCheckpointStore checkpoints(folder.path() / "checkpoints", backend.config(), save);

  const ShuffledPrompts source(std::move(prompts), recipe.trainer.seed, recipe.data.shuffle);
  Trainer::Parts parts;
  parts.learner = &learner;
  parts.engine = made.engine.get();
  parts.prompts = &source;
  parts.eval_scorer = [&](const SampleGroup& group) { return recipe.rubric->score(group); };
  parts.scorer = [&](const SampleGroup& group) {
    std::vector<Score> scores = recipe.rubric->score(group);
    if (recipe.audit.auditor) recipe.audit.auditor->audit(group, scores);
    return scores;
  };
  parts.eval_prompts = std::move(eval_prompts);
  parts.checkpoints = &checkpoints;
  parts.journal = folder.journal();
  parts.peak_gb = [&] { return backend.peak_gb(); };
  TrainerOptions trainer_options = recipe.trainer;
  trainer_options.device = backend.device();
  Trainer trainer(std::move(parts), trainer_options);

  const std::optional<std::int64_t> resumed = trainer.resume();
  if (resumed) terminal.print(message("  resuming  at step ", *resumed));
  if (folder.state() == RunFolder::State::kFinished && trainer.step() >= recipe.trainer.steps) {
    terminal.print(message("this run is finished (", trainer.step(), " of ", recipe.trainer.steps, " updates); raise rl.steps to go on, or use --overwrite or another output.dir"), true);
    return 0;
  }
  MetricsWriter::Options metrics_options;
  metrics_options.jsonl = folder.metrics();
  if (recipe.output.tensorboard) metrics_options.tensorboard = folder.tensorboard();
  metrics_options.keep_until_step = resumed;
  MetricsWriter metrics(metrics_options);
  RunRecorder::Options recorder_options;
  recorder_options.samples_every = recipe.output.samples_every;
  recorder_options.first_step = trainer.step();
  recorder_options.samples_file = [&](std::int64_t step) { return folder.samples(step); };
  recorder_options.eval_items = folder.path() / "eval";
  RunRecorder recorder(&metrics, recorder_options);
  std::optional<AuditRecorder> audit;
  if (recipe.audit.auditor) {
    AuditRecorder::Options audit_options;
    audit_options.watch = recipe.audit.watch;
    audit_options.claims = recipe.audit.claims;
    audit_options.dir = folder.path() / "audit";
    audit_options.resumed = resumed;
    audit_options.on_alarm = [](std::int64_t step, const AuditAlarm& alarm) {
      log_warning("audit.alarm", {{"text", "AUDIT ALARM at step " + std::to_string(step) + ": " + alarm.text +
                                               "; read audit/disagreements.jsonl in the run folder before going on"},
                                  {"kind", alarm.kind}, {"step", step}});
    };
    audit.emplace(std::move(audit_options));
    trainer.add_observer(&*audit);
  }
  TrainScreen screen(terminal, recipe, trainer.step());
  trainer.add_observer(&recorder);
  trainer.add_observer(&screen);
  try {
    trainer.run();
  } catch (const Interrupted&) {
    metrics.sync();
    screen.finish(true);
    return kExitInterrupted;
  }
  metrics.sync();
  folder.mark_finished();
  screen.finish(false);
  return 0;
}

}  // namespace

void add_train(CLI::App& app, const Globals& globals, int& exit_code) {
  struct Args { std::string recipe; std::vector<std::string> overrides; bool overwrite = false, resume = false; };
  auto args = std::make_shared<Args>();
  CLI::App* cmd = app.add_subcommand("train", "train a model by a recipe; goes on by itself where an earlier run stopped");
  cmd->add_option("recipe", args->recipe, "YAML file")->required();
  cmd->add_option("overrides", args->overrides, "key=value, e.g. rl.steps=20 output.dir=runs/try");
  cmd->add_flag("--resume", args->resume, "fail unless there is an unfinished run to go on with");
  cmd->add_flag("--overwrite", args->overwrite, "delete what an earlier run left in output.dir");
  cmd->footer("Example: r1 train recipes/quickstart.yaml rl.steps=20 output.dir=runs/try");
  cmd->callback([args, &globals, &exit_code] {
    install_stop_signals();
    const Recipe recipe = load_recipe(args->recipe, args->overrides, reward_context());
    if (args->resume && !std::filesystem::exists(recipe.output.dir / "config.yaml"))
      throw ConfigError(message("--resume: ", recipe.output.dir.string(), " holds no run; leave --resume out to start one"));
    std::string command_line = "r1 train " + args->recipe;
    for (const std::string& o : args->overrides) command_line += " " + o;
    exit_code = train(recipe, globals, args->overwrite, command_line);
  });
}

}  // namespace r1
