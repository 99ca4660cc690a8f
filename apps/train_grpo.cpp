// kind: grpo. Wires engine, learner, rewards and observers of a GRPO run.
#include <algorithm>

#include "apps/reward_context.h"
#include "apps/teacher_model.h"
#include "apps/train_kind.h"
#include "apps/train_run.h"
#include "apps/train_screen.h"
#include "apps/weight_layout.h"
#include "core/error.h"
#include "core/log.h"
#include "core/signals.h"
#include "kd/on_policy.h"
#include "kernels/gpu/device.h"
#include "recipes/data_section.h"
#include "recipes/recipe_distill.h"
#include "rl/audit_recorder.h"
#include "rl/ranked_checkpoints.h"
#include "rl/rollout_record.h"
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

// What a GPU's weights need on their way to servers that take them from its memory.
void hand_over_weights(const ModelConfig& config, const std::string& device, GrpcEngineOptions& options) {
  options.no_weight_device = weight_device_unavailable();
  if (device == "cpu") {
    if (options.no_weight_device.empty()) options.no_weight_device = "the learner computes on the CPU";
    return;
  }
  options.weight_device = make_weight_device();
  options.layout = weight_layout(config, DType::kBF16);
  options.places = weight_places(config, DType::kBF16);
}

}  // namespace

int train_grpo(const TrainRequest& request) {
  const bool distill = request.config.peek("kind") == "distill";
  const Recipe recipe = distill ? make_on_policy_recipe(request.config, reward_context()) : make_recipe(request.config, reward_context());
  TrainRun::Setup setup{recipe.model, recipe.output, recipe.train.threads, recipe.trainer.seed, &*recipe.resolved, {}, recipe.warnings};
  setup.may_change = {"audit", "train.reward_threads", "train.numerics", "rollout.gpu_memory_share", "rollout.gpu_memory_gb", "rollout.engine", "rollout.grpc", "rl.async.patience_s"};
  if (recipe.learner.optimizer.learning_rate.schedule == LrSchedule::kConstant) setup.may_change.emplace_back("rl.steps");
  setup.ranks = recipe.train.ranks, setup.shares_model = !distill;
  if (recipe.gpu_memory_gb > 0) gpu::limit_memory(static_cast<std::size_t>(recipe.gpu_memory_gb * 1073741824.0));
  TrainRun run(request, std::move(setup));
  Terminal& terminal = run.terminal();
  Backend& backend = run.backend();
  const std::shared_ptr<const Tokenizer> tokenizer = run.runtime().tokenizer;
  std::int64_t longest = 0;  // sample, in tokens
  const auto load = [&](const DataSection& section, const char* what) {
    RecipePrompts loaded = load_recipe_prompts(section, what, tokenizer, *recipe.rubric);
    if (!loaded.skipped.empty())
      terminal.print(message("warning: ", what, ": ", loaded.skipped.size(), " bad rows left out, the first: ", loaded.skipped.front()), true);
    longest = std::max(longest, check_context(loaded.prompts, recipe, backend.config(), what));
    return std::move(loaded.prompts);
  };
  std::vector<Prompt> prompts = load(recipe.data, "data"), eval_prompts;
  if (recipe.eval_data) eval_prompts = load(*recipe.eval_data, "eval");

  RunFolder& folder = run.open_folder();
  terminal.print(start_block(recipe, backend.config(), backend.line(), prompts.size(), eval_prompts.size()));

  BackendNeeds needs;
  needs.engine = recipe.engine;
  needs.trains = true, needs.reference = recipe.learner.needs_reference();
  needs.overlap = recipe.trainer.async.max_staleness > 0 && recipe.grpc.servers.empty();  // servers have weights of their own
  needs.sends_weights = !recipe.grpc.servers.empty();
  needs.critic = recipe.learner.critic.has_value();
  needs.tokens_per_micro_batch = recipe.train.tokens_per_micro_batch, needs.recompute = recipe.train.recompute, needs.optimizer = recipe.train.optimizer;
  needs.master_start = recipe.policy.master_start;
  needs.gpu_memory_share = recipe.gpu_memory_share, needs.longest_sample = longest;
  needs.lora = run.adapter(recipe.lora);
  run.share(needs);
  if (distill) needs.teacher = open_teacher(recipe.teacher, recipe.model.dtype, recipe.model.path, *tokenizer);
  BackendParts made = backend.make(needs, tokenizer);
  for (const std::string& line : made.memory) terminal.print("  memory    " + line);
  if (!recipe.grpc.servers.empty()) {
    if (run.ranks().parallel().parts()) throw ConfigError(message(run.ranks().parallel().key(), " samples with the learner's own parts of the weights; leave rollout.engine: grpc out"));
    GrpcEngineOptions options = recipe.grpc;
    options.to_host = [policy = made.policy.get()](const WeightSnapshot& s) { return policy->host_weights(s.version); };
    hand_over_weights(backend.config(), backend.device(), options);
    options.interruptible = recipe.trainer.async.max_staleness == 0;  // else a rollout in progress is finished and saved
    options.shared_servers = !run.ranks().alone();
    if (!run.ranks().alone() && recipe.trainer.async.free_running) options.before_publish = [&run] { run.ranks().comm().barrier("the weights' publication"); };
    made.engine = make_grpc_engine(std::move(options), tokenizer);
  }
  GrpoOptions learner_options = recipe.learner;
  learner_options.tokens_per_micro_batch = made.tokens_per_micro_batch;
  run.join(made);
  GrpoLearner learner(*made.policy, made.reference.get(), learner_options, made.critic.get(), &run.ranks());

  ModelCheckpointStore files = run.checkpoints(made);
  RankedCheckpoints checkpoints(files, run.ranks());
  const ShuffledPrompts source(std::move(prompts), recipe.trainer.seed, recipe.data.shuffle);
  Trainer::Parts parts;
  parts.learner = &learner;
  parts.engine = made.engine.get();
  parts.prompts = &source;
  parts.scorer = [&](const SampleGroup& group) { return recipe.rubric->score(group); };
  if (recipe.rubric->scores_alone()) parts.completion_scorer = parts.scorer;
  if (recipe.audit.auditor)
    parts.group_scored = [&](const SampleGroup& group, std::vector<Score>& scores) { recipe.audit.auditor->audit(group, scores); };
  if (distill) parts.token_advantages = teacher_advantages(*made.teacher, recipe.learner.temperature, made.tokens_per_micro_batch, &run.ranks());
  parts.eval_prompts = std::move(eval_prompts);
  parts.checkpoints = &checkpoints;
  parts.journal = folder.journal();
  parts.ranks = &run.ranks();
  parts.peak_gb = [&] { return backend.peak_gb(); };
  TrainerOptions trainer_options = recipe.trainer;
  // Other parts have other sums: what they sampled is not what these weights would.
  trainer_options.device = backend.device() + (run.ranks().parallel().tensor ? message(" in ", run.ranks().world() / run.ranks().groups(), " parts") : "");
  Trainer trainer(std::move(parts), trainer_options);

  const std::optional<std::int64_t> resumed = trainer.resume();
  if (resumed) terminal.print(message("  resuming  at step ", *resumed));
  if (run.was_finished() && trainer.step() >= recipe.trainer.steps) {
    terminal.print(message("this run is finished (", trainer.step(), " of ", recipe.trainer.steps, " updates); raise rl.steps to go on, or use --overwrite or another output.dir"), true);
    return 0;
  }
  MetricsWriter metrics = run.metrics(resumed);
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
  ReverseKlObserver reverse_kl;
  if (distill) trainer.add_observer(&reverse_kl);
  TrainScreen screen(terminal, recipe, trainer.step());
  std::optional<RolloutRecorder> rollouts;
  if (recipe.output.record_gb > 0 && run.ranks().rank() == 0) {
    learner.keep_traces(true);
    rollouts.emplace(RolloutRecorder::Options{folder.path() / "rollouts", static_cast<std::uint64_t>(recipe.output.record_gb * 1073741824.0)});
    trainer.add_observer(&*rollouts);
  }
  trainer.add_observer(&recorder);
  trainer.add_observer(&screen);
  return run_to_end(trainer, metrics, folder, screen);
}

}  // namespace r1
