// kind: distill. Chooses by distill.mode: sft and on_policy are runs of other kinds; logits and gkd are wired here.
#include <algorithm>
#include <optional>
#include <utility>

#include "apps/example_screen.h"
#include "apps/reward_context.h"
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

constexpr std::int64_t kTeacherRows = 8192;  // of a batch that fills a store

// A file that rank 0 has, where this rank finds it: there, or as a copy in `scratch`.
std::filesystem::path for_all_ranks(const Ranks& ranks, const std::filesystem::path& file, const std::filesystem::path& scratch) {
  std::string everywhere = std::filesystem::exists(file) ? "1" : "0";
  for (const std::string& there : ranks.gather(everywhere, "the teacher's store"))
    if (there == "0") everywhere = there;
  if (everywhere == "1") return file;
  std::string bytes = ranks.rank() == 0 ? read_file(file) : std::string();
  ranks.broadcast(bytes, "the teacher's store");
  if (ranks.rank() == 0) return file;
  make_directories(scratch);
  const std::filesystem::path copy = scratch / file.filename();
  write_file_atomic(copy, bytes);
  return copy;
}

int train_logits(const TrainRequest& request) {
  DistillRecipe recipe = make_distill_recipe(request.config, reward_context());
  SftRecipe& base = recipe.base;
  TrainRun::Setup setup{base.model, base.output, base.train.threads, base.seed, &*base.resolved, {}, base.warnings};
  setup.may_change = {"validation.every", "validation.at_start", "train.gpu_memory_share", "rewards"};
  setup.ranks = base.train.ranks;
  TrainRun run(request, std::move(setup));
  Terminal& terminal = run.terminal();
  Backend& backend = run.backend();
  const std::shared_ptr<const Tokenizer> tokenizer = run.runtime().tokenizer;
  ComputePool& pool = *run.runtime().pool;

  SftData data = load_sft_data(base, backend.config(), tokenizer, terminal);
  ExampleTrainerOptions& options = base.trainer;
  options.parts = data.parts;
  plan_updates(options, base.steps, base.warmup_ratio, ExampleStream(data.parts, base.seed, false).epoch_size(), "sft");
  std::vector<Prompt> eval_prompts = load_eval_prompts(base, backend.config(), tokenizer, data);
  if (!eval_prompts.empty()) data.line += message("; evaluation on ", eval_prompts.size());
  const std::vector<TrainSample> train = as_samples(std::move(data.examples)), held_out = as_samples(std::move(data.validation));
  options.loop.config_digest += to_hex(digest_of(train));

  RunFolder& folder = run.open_folder();
  terminal.print(example_start_block(base.model, backend, data.line, options, base.output, "examples"));
  const bool gkd = recipe.options.student_share > 0, stored = !recipe.store.empty();
  std::int64_t longest = data.longest, longest_prompt = 0;
  for (const auto* texts : {&train, &held_out})
    for (const TrainSample& s : *texts) longest = std::max<std::int64_t>(longest, std::ssize(s.tokens));
  for (const TrainSample& s : train) longest_prompt = std::max<std::int64_t>(longest_prompt, s.prompt_length);
  if (gkd && longest_prompt + recipe.sampling.max_new_tokens > backend.config().max_position_embeddings)
    throw ConfigError(message("rollout.max_new_tokens ", recipe.sampling.max_new_tokens, " with a prompt of ", longest_prompt,
                              " tokens is more than the model's context of ", backend.config().max_position_embeddings));
  const auto open = [&] { return open_teacher(recipe.teacher, base.model.dtype, base.model.path, *tokenizer); };

  std::unique_ptr<TeacherStore> of_train, of_held_out;
  if (stored) {
    std::unique_ptr<ScoringModel> teacher;  // gone before the student's memory is planned
    const TeacherStore::About about{recipe.teacher, recipe.top_k, recipe.options.kd.temperature};
    const auto open_store = [&](const std::filesystem::path& file, const std::vector<TrainSample>& samples) {
      if (run.ranks().rank() == 0 && !std::filesystem::exists(file)) {
        terminal.print(message("  teacher   its top ", about.top_k, " for ", samples.size(), " texts goes to ", file.string()));
        if (file.has_parent_path()) make_directories(file.parent_path());
        if (!teacher) teacher = backend.make_teacher(open(), std::max(kTeacherRows, longest));
        TeacherStore(*teacher, about, samples, kTeacherRows, pool).save(file);
      }
      run.ranks().phase("the teacher's store");
      return std::make_unique<TeacherStore>(for_all_ranks(run.ranks(), file, folder.path() / "cache"), about, samples);
    };
    of_train = open_store(recipe.store, train);
    std::filesystem::path beside = recipe.store;
    beside.replace_filename(recipe.store.stem().string() + "_validation" + recipe.store.extension().string());
    if (!held_out.empty()) of_held_out = open_store(beside, held_out);
  }
  BackendNeeds needs = device_default();
  needs.trains = true;
  needs.tokens_per_micro_batch = base.train.tokens_per_micro_batch, needs.recompute = base.train.recompute, needs.optimizer = base.train.optimizer;
  needs.longest_sample = std::max(longest, gkd ? longest_prompt + recipe.sampling.max_new_tokens : 0);
  needs.lora = run.adapter(base.lora);
  run.share(needs);
  if (!stored) needs.teacher = open();
  const BackendParts made = backend.make(needs, tokenizer);
  for (const std::string& line : made.memory) terminal.print("  memory    " + line);
  options.tokens_per_micro_batch = made.tokens_per_micro_batch;
  run.join(made);

  std::unique_ptr<KdPass> pass, held_out_pass;
  if (stored) {
    pass = backend.kd_pass(*made.policy, *of_train);
    if (of_held_out) held_out_pass = backend.kd_pass(*made.policy, *of_held_out);
  } else {
    pass = backend.kd_pass(*made.policy, *made.teacher);
  }
  DistillObjective::Parts parts;
  parts.student = made.policy.get();
  parts.train = train, parts.held_out = held_out;
  parts.ranks = &run.ranks();
  parts.pass = pass.get(), parts.held_out_pass = stored ? held_out_pass.get() : pass.get();
  if (gkd) {
    parts.live = pass.get();
    parts.sampler = make_student_sampler(*made.engine, *made.policy, recipe.sampling, base.seed, &run.ranks());
  }
  DistillObjective objective(std::move(parts), recipe.options);
  return run_examples(run, folder, "distill", made, sampled_evaluation(objective, made, std::move(eval_prompts), base.rubric), options, base.output,
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
