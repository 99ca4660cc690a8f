#include "apps/doctor_subject.h"

#include <optional>

#include "apps/hub_files.h"
#include "apps/reward_context.h"
#include "apps/runtime.h"
#include "apps/sft_data.h"
#include "core/error.h"
#include "core/format.h"
#include "doctor/checks.h"
#include "model/gguf_model.h"
#include "model/hf_directory.h"
#include "recipes/recipe_distill.h"
#include "recipes/recipe_preference.h"
#include "recipes/recipe_sft.h"

namespace r1 {
namespace {

using doctor::Findings;

struct Model {
  std::filesystem::path path;
  ModelConfig config;
  std::shared_ptr<const Tokenizer> tokenizer;
};

// Configuration and tokenizer, without weights.
std::optional<Model> read_model(const ModelSection& section, Findings& out) {
  out.section("recipe");
  try {
    Model m;
    m.path = find_model(section.path);
    m.config = is_gguf(m.path) ? GgufModel(m.path).config() : ModelConfig::load(m.path);
    m.tokenizer = load_tokenizer(m.path);
    out.good("model", message(m.path.string(), ": ", m.config.model_type, ", ", human_count(static_cast<double>(m.config.num_parameters())), " parameters, vocabulary ",
                              m.config.vocab_size, ", context ", m.config.max_position_embeddings));
    if (m.tokenizer->vocab_size() > m.config.vocab_size)
      out.error("vocabulary", message("the tokenizer knows ", m.tokenizer->vocab_size(), " ids, the model has rows for ", m.config.vocab_size), "the tokenizer is another model's");
    return m;
  } catch (const Error& e) {
    out.error("model", e.what(), "model.path is a Hugging Face directory, a GGUF file or a hub name; `r1 models` lists what is there");
    return std::nullopt;
  }
}

void ask_start_model(const doctor::Subject& subject, const DoctorOptions& options, Findings& out) {
  out.section("start model");
  try {
    const Recipe& recipe = subject.recipe;
    Runtime run = open_model(recipe.model.path, recipe.model.dtype, options.threads > 0 ? options.threads : recipe.train.threads, recipe.model.device, {}, recipe.model.long_context);
    BackendNeeds needs = device_default();
    needs.engine = recipe.engine;
    needs.gpu_memory_share = recipe.gpu_memory_share;
    const BackendParts made = run.backend->make(needs, run.tokenizer);
    doctor::check_start_model(subject, *made.engine, options.prompts, out);
  } catch (const Error& e) {
    out.error("start-model", e.what(), "a run would end here");
  }
}

void examine_rl(const Recipe& recipe, const DoctorOptions& options, Findings& out) {
  const std::optional<Model> model = read_model(recipe.model, out);
  doctor::check_settings(recipe, model ? &model->config : nullptr, out);
  if (!model) return;
  doctor::Subject subject{recipe, model->config, model->tokenizer, {}, {}};
  subject.prompts = doctor::load_prompts(recipe.data, "data", model->tokenizer, *recipe.rubric, out);
  if (recipe.eval_data) subject.eval_prompts = doctor::load_prompts(*recipe.eval_data, "eval", model->tokenizer, *recipe.rubric, out);
  doctor::check_data(subject, out);
  doctor::check_template(subject, out);
  doctor::check_stops(dataset_options(recipe.data), model->config, *model->tokenizer, recipe.trainer.sampling, out);
  if (!recipe.teacher.empty()) return;  // no reward is paid
  doctor::check_rewards(subject, out);
  if (options.prompts > 0 && !subject.prompts.empty()) ask_start_model(subject, options, out);
}

// Every row becomes a training text, or the loader's own error says why not.
void examine_sft(SftRecipe recipe, Findings& out) {
  const std::optional<Model> model = read_model(recipe.model, out);
  for (const std::string& warning : recipe.warnings) out.warning("recipe-warning", warning, "");
  if (!model) return;
  if (!recipe.data.sources.empty() && !recipe.data.sources[0].generate)
    doctor::check_stops(recipe.data.sources[0].rows.dataset, model->config, *model->tokenizer, SamplingOptions{}, out);
  out.section("data");
  try {
    Terminal::Options silent;
    silent.quiet = true;
    Terminal terminal(silent);
    const SftData data = load_sft_data(recipe, model->config, model->tokenizer, terminal);
    out.good("texts", data.line);
    const SftExample& first = data.examples.front();
    out.good("mask", message("what is trained of ", first.name, ", in [[ ]]:\n",
                             cut_to_width(marked_text(first, *model->tokenizer, [](const std::string& piece) { return "[[" + piece + "]]"; }), 2000)));
  } catch (const Error& e) {
    out.error("data-unreadable", e.what(), "");
  }
}

void examine_preference(PreferenceRecipe recipe, Findings& out) {
  const std::optional<Model> model = read_model(recipe.model, out);
  if (!model) return;
  PreferenceRowOptions rows = recipe.data.rows;
  doctor::check_stops(rows.sft.dataset, model->config, *model->tokenizer, SamplingOptions{}, out);
  out.section("data");
  if (rows.sft.max_length == 0) rows.sft.max_length = model->config.max_position_embeddings;
  try {
    const PreferenceRows loaded = load_preference_rows(rows, model->tokenizer, model->config.eos_token_ids);
    out.good("rows", message(loaded.set.size(), loaded.set.pairs ? " pairs" : " labelled answers"));
    if (!loaded.skipped.empty()) out.warning("bad-rows", message(loaded.skipped.size(), " rows are left out, the first: ", loaded.skipped.front()), "repair them");
    if (loaded.too_long > 0) out.warning("too-long", message(loaded.too_long, " rows are above data.max_length and left out"), "raise it");
  } catch (const Error& e) {
    out.error("data-unreadable", e.what(), "");
  }
}

}  // namespace

void examine_recipe(const Config& config, const DoctorOptions& options, Findings& out) {
  const std::string kind = config.peek("kind").value_or("grpo");
  try {
    if (kind == "grpo") return examine_rl(make_recipe(config, reward_context()), options, out);
    if (kind == "sft") return examine_sft(make_sft_recipe(config, reward_context()), out);
    if (kind == "reward_model" || kind == "dpo") return examine_preference(make_preference_recipe(config, kind == "reward_model"), out);
    if (kind == "distill") {
      const DistillMode mode = distill_mode(config);
      if (mode == DistillMode::kOnPolicy) return examine_rl(make_on_policy_recipe(config, reward_context()), options, out);
      return examine_sft(mode == DistillMode::kSft ? make_distill_sft_recipe(config, reward_context()) : make_distill_recipe(config).base, out);
    }
    out.section("recipe");
    if (kind == "pipeline") out.note("kind", "a pipeline: `r1 pipeline --dry-run` shows its stages; examine each stage's recipe by itself");
    else if (kind == "generate" || kind == "eval") out.note("kind", message("kind ", kind, " trains nothing; `r1 ", kind, "` checks it before any work"));
    else out.error("kind", message("kind is ", kind), "it can be grpo, sft, reward_model, dpo or distill");
  } catch (const Error& e) {
    doctor::report_unreadable(e.what(), config, out);
  }
}

}  // namespace r1
