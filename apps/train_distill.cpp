// kind: distill. Chooses by distill.mode: sft and on_policy are runs of other kinds; logits and gkd are wired here.
#include <algorithm>
#include <optional>
#include <utility>

#include "apps/example_screen.h"
#include "apps/sft_data.h"
#include "apps/teacher_model.h"
#include "apps/train_kind.h"
#include "core/error.h"
#include "core/files.h"
#include "recipes/recipe_distill.h"
#include "recipes/recipe_preference.h"
#include "rl/train_samples.h"

namespace r1 {
namespace {

std::vector<TrainSample> as_samples(std::vector<SftExample> examples) {
  std::vector<TrainSample> out;
  for (SftExample& e : examples) {
    TrainSample s;
    s.name = std::move(e.name);
    s.prompt_length = static_cast<std::int32_t>(std::find(e.loss_mask.begin(), e.loss_mask.end(), std::uint8_t{1}) - e.loss_mask.begin());
    s.group = out.size();
    s.behavior_logprobs.assign(e.tokens.size(), 0.f);
    s.advantages.assign(e.tokens.size(), 0.f);
    s.tokens = std::move(e.tokens);
    s.loss_mask = std::move(e.loss_mask);
    out.push_back(std::move(s));
  }
  return out;
}

// The stored rows of `samples`, asked of the teacher if the file is not there. `teacher` is opened when it is needed.
template <class Open>
std::unique_ptr<TeacherStore> open_store(const std::filesystem::path& file, const TeacherStore::About& about, const std::vector<TrainSample>& samples,
                                         std::int64_t budget, ComputePool& pool, Terminal& terminal, Open&& teacher) {
  if (!std::filesystem::exists(file)) {
    terminal.print(message("  teacher   its top ", about.top_k, " for ", samples.size(), " texts goes to ", file.string()));
    if (file.has_parent_path()) make_directories(file.parent_path());
    TeacherStore(teacher().scoring, about, samples, budget, pool).save(file);
  }
  return std::make_unique<TeacherStore>(file, about, samples);
}

int train_logits(const TrainRequest& request) {
  DistillRecipe recipe = make_distill_recipe(request.config);
  SftRecipe& base = recipe.base;
  TrainRun::Setup setup{base.model, base.output, base.train.threads, base.seed, &*base.resolved, {}, base.warnings};
  setup.may_change = {"validation.every", "validation.at_start", "train.gpu_memory_share"};
  TrainRun run(request, std::move(setup));
  Terminal& terminal = run.terminal();
  Backend& backend = run.backend();
  const std::shared_ptr<const Tokenizer> tokenizer = run.runtime().tokenizer;
  ComputePool& pool = *run.runtime().pool;

  SftData data = load_sft_data(base, backend.config(), tokenizer, terminal);
  ExampleTrainerOptions options;
  options.optimizer = base.learner.optimizer;
  options.examples_per_update = base.trainer.examples_per_update;
  options.epochs = base.epochs;
  options.shuffle = base.data.shuffle;
  options.parts = data.parts;
  options.loop = base.trainer.loop;
  plan_updates(options, base.warmup_ratio, ExampleStream(data.parts, base.seed, false).epoch_size(), "sft");
  const std::vector<TrainSample> train = as_samples(std::move(data.examples)), held_out = as_samples(std::move(data.validation));
  options.loop.config_digest += to_hex(digest_of(train));

  RunFolder& folder = run.open_folder();
  terminal.print(example_start_block(base.model, backend, data.line, options, base.output, "examples"));
  const bool gkd = recipe.options.student_share > 0;
  BackendNeeds needs = device_default();
  needs.trains = true;
  needs.tokens_per_micro_batch = base.train.tokens_per_micro_batch, needs.recompute = base.train.recompute;
  const BackendParts made = backend.make(needs, tokenizer);
  for (const std::string& line : made.memory) terminal.print("  memory    " + line);
  options.tokens_per_micro_batch = made.tokens_per_micro_batch;

  std::unique_ptr<TeacherModel> teacher;
  const auto open = [&]() -> TeacherModel& {
    if (!teacher) teacher = open_teacher(recipe.teacher, base.model.dtype, base.model.path, *tokenizer, pool);
    return *teacher;
  };
  std::unique_ptr<Teacher> of_train, of_held_out;
  if (recipe.store.empty()) {
    of_train = std::make_unique<LiveTeacher>(open().scoring);
    of_held_out = std::make_unique<LiveTeacher>(open().scoring);
  } else {
    const TeacherStore::About about{recipe.teacher, recipe.top_k, recipe.options.kd.temperature};
    of_train = open_store(recipe.store, about, train, options.tokens_per_micro_batch, pool, terminal, open);
    std::filesystem::path beside = recipe.store;
    beside.replace_filename(recipe.store.stem().string() + "_validation" + recipe.store.extension().string());
    if (!held_out.empty()) of_held_out = open_store(beside, about, held_out, options.tokens_per_micro_batch, pool, terminal, open);
    teacher.reset();
  }
  DistillObjective::Parts parts;
  parts.student = made.policy.get();
  parts.train = train, parts.held_out = held_out;
  parts.teacher = of_train.get(), parts.held_out_teacher = of_held_out.get();
  if (gkd) {
    std::int64_t longest = 0;
    for (const TrainSample& s : train) longest = std::max<std::int64_t>(longest, s.prompt_length);
    if (longest + recipe.sampling.max_new_tokens > backend.config().max_position_embeddings)
      throw ConfigError(message("rollout.max_new_tokens ", recipe.sampling.max_new_tokens, " with a prompt of ", longest,
                                " tokens is more than the model's context of ", backend.config().max_position_embeddings));
    parts.live_teacher = of_train.get();
    parts.sampler = make_student_sampler(*made.engine, *made.policy, recipe.sampling, base.seed);
  }
  parts.pool = &pool;
  DistillObjective objective(std::move(parts), recipe.options);
  return run_examples(run, folder, "distill", objective, options, base.output,
                      {{"loss", "loss", "%.4f"},
                       {"forward kl", "forward_kl", "%.4f"},
                       {"reverse kl", "reverse_kl", "%.4f"},
                       {"student", "distill/on_student", "%.0f"}},
                      nullptr);
}

}  // namespace

int train_distill(const TrainRequest& request) {
  switch (distill_mode(request.config)) {
    case DistillMode::kSft: return train_sft(request);
    case DistillMode::kOnPolicy: return train_grpo(request);
    case DistillMode::kLogits:
    case DistillMode::kGkd: return train_logits(request);
  }
  return 0;
}

}  // namespace r1
