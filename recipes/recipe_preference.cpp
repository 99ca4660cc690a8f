#include "recipes/recipe_preference.h"

#include <array>
#include <cmath>
#include <map>
#include <utility>

#include "core/digest.h"
#include "core/error.h"
#include "core/rng.h"
#include "recipes/recipe.h"

namespace r1 {
namespace {

constexpr std::int64_t kMany = 1'000'000'000;

std::optional<GeneratedData> read_columns(ConfigReader& reader, PreferenceRowOptions& rows, const char* split) {
  std::optional<GeneratedData> generate;
  if (!rows.pairs) reader.reject("generate", "made rows are pairs; labelled answers are read from files");
  detail::read_source(reader, "path", split, rows.sft.dataset.paths, generate);
  if (generate) {
    generate->pairs = true;
    for (const char* key : {"prompt", "chosen", "rejected"}) reader.reject(key, "generated rows have columns of their own");
    rows.sft.dataset.prompt_column = "prompt", rows.chosen_column = "chosen", rows.rejected_column = "rejected";
    return generate;
  }
  rows.sft.dataset.prompt_column = reader.get<std::string>("prompt", "");
  const std::pair<const char*, std::string*> of_pairs[] = {{"chosen", &rows.chosen_column}, {"rejected", &rows.rejected_column}};
  const std::pair<const char*, std::string*> of_labels[] = {{"response", &rows.response_column}, {"label", &rows.label_column}};
  for (const auto& [key, value] : of_pairs) {
    if (rows.pairs) *value = reader.get<std::string>(key, "");
    else reader.reject(key, "a pointwise model learns from labelled answers: response and label");
  }
  for (const auto& [key, value] : of_labels) {
    if (!rows.pairs) *value = reader.get<std::string>(key, "");
    else reader.reject(key, "pairs have chosen and rejected answers");
  }
  return generate;
}

void read_data(ConfigReader reader, PreferenceRecipe& recipe) {
  DataSection layout;
  detail::read_template(reader, layout);
  layout.skip_bad_rows = reader.get_choice("on_error", "error", std::array<std::string, 2>{"error", "skip"}) == "skip";
  layout.limit = reader.get_in<std::int64_t>("limit", 0, 0, std::int64_t{1} << 40);
  PreferenceRowOptions& rows = recipe.data.rows;
  rows.sft.dataset = dataset_options(layout);
  rows.sft.max_length = reader.get_in<std::int64_t>("max_length", 0, 0, 1 << 24);
  rows.sft.overlong =
      reader.get_choice("overlong", "error", std::array<std::string, 2>{"error", "skip"}) == "skip" ? Overlong::kSkip : Overlong::kError;
  recipe.trainer.shuffle = reader.get<bool>("shuffle", true);
  if (rows.pairs) recipe.data.balance_lengths = reader.get<bool>("balance_lengths", false);
  else reader.reject("balance_lengths", "labelled answers have no pairs");
  recipe.data.generate = read_columns(reader, rows, "train");
}

void read_validation(ConfigReader reader, PreferenceRecipe& recipe) {
  const bool share = reader.has("share");
  if (!share && !reader.has("path") && !reader.has("generate")) {
    for (const std::string& key : reader.keys()) reader.reject(key, "validation has no data; set validation.path, generate or share");
    return;
  }
  PreferenceValidationSection out;
  if (share) {
    for (const char* key : {"path", "generate", "prompt", "chosen", "rejected", "response", "label", "limit"})
      reader.reject(key, "validation.share takes training examples");
    out.share = reader.get_in<double>("share", 0.0, 0.0, 0.9);
    if (out.share == 0) reader.fail("share", "is 0; leave validation out");
  } else {
    out.rows = recipe.data.rows;
    out.rows->sft.dataset.limit = reader.get_in<std::int64_t>("limit", 0, 0, std::int64_t{1} << 40);
    // Columns that are not named here are those of data:.
    PreferenceRowOptions own = *out.rows;
    out.generate = read_columns(reader, own, "test");
    const auto keep = [](std::string& to, const std::string& from) { if (to.empty()) to = from; };
    keep(own.sft.dataset.prompt_column, out.rows->sft.dataset.prompt_column);
    keep(own.chosen_column, out.rows->chosen_column), keep(own.rejected_column, out.rows->rejected_column);
    keep(own.response_column, out.rows->response_column), keep(own.label_column, out.rows->label_column);
    out.rows = std::move(own);
  }
  recipe.trainer.loop.eval_every = reader.get_in<std::int64_t>("every", 50, 0, kMany);
  recipe.trainer.loop.eval_at_start = reader.get<bool>("at_start", true);
  recipe.validation = std::move(out);
}

void read_updates(ConfigReader& reader, PreferenceRecipe& recipe, const detail::OptimizerDefaults& defaults, std::int64_t batch, double warmup) {
  ExampleTrainerOptions& t = recipe.trainer;
  t.optimizer = detail::read_optimizer(reader, defaults);
  t.examples_per_update = reader.get_in<std::int64_t>("examples_per_update", batch, 1, 1 << 24);
  t.epochs = reader.get_in<double>("epochs", 1.0, 0.0, 1e6);
  if (t.epochs == 0) reader.fail("epochs", "is 0: nothing would be trained");
  if (reader.has("warmup_steps")) {
    reader.reject("warmup_ratio", "warmup_steps is set");
    t.optimizer.learning_rate.warmup = reader.get_in<std::int64_t>("warmup_steps", 0, 0, kMany);
  } else {
    recipe.warmup_ratio = reader.get_in<double>("warmup_ratio", warmup, 0.0, 1.0);
  }
}

}  // namespace

PreferenceRecipe make_preference_recipe(const Config& config, bool reward_model) {
  ConfigReader root(config);
  const std::string kind = reward_model ? "reward_model" : "dpo";
  root.get_choice("kind", "grpo", std::array<std::string, 1>{kind});
  PreferenceRecipe recipe;
  recipe.name = detail::recipe_name(config);
  recipe.reward_model = reward_model;
  recipe.seed = root.get<std::uint64_t>("seed", 0);
  recipe.model = detail::read_model(root.section("model"));
  ConfigReader own = root.section(kind);
  if (reward_model) {
    recipe.data.rows.pairs = own.get_choice("loss", "pairwise", std::array<std::string, 2>{"pairwise", "pointwise"}) == "pairwise";
    if (recipe.data.rows.pairs) recipe.reward.centring = own.get_in<double>("centring", 0.0, 0.0, 1e3);
    else own.reject("centring", "it belongs to loss: pairwise");
    recipe.head_std = own.get_in<double>("head_std", 0.02, 0.0, 10.0);
    read_updates(own, recipe, {6e-6, "constant", 0.999}, 256, 0.0);
  } else {
    recipe.dpo.kind = detail::read_name(own, "loss", "sigmoid", parse_dpo_loss);
    recipe.dpo.beta = own.get_in<double>("beta", 0.1, 1e-6, 1e3);
    if (recipe.dpo.kind == DpoLoss::kSigmoid) recipe.dpo.label_smoothing = own.get_in<double>("label_smoothing", 0.0, 0.0, 0.4999);
    else own.reject("label_smoothing", "it belongs to loss: sigmoid");
    read_updates(own, recipe, {5e-6, "cosine", 0.999}, 512, 0.1);
  }
  read_data(root.section("data"), recipe);
  read_validation(root.section("validation"), recipe);
  ConfigReader train = root.section("train");
  recipe.train = detail::read_train(train);
  if (recipe.model.device == "cpu") train.reject("gpu_memory_share", "this runs on the CPU");
  else recipe.gpu_memory_share = train.get_in<double>("gpu_memory_share", 0.9, 0.05, 1.0);
  recipe.lora = detail::read_lora(root, recipe.seed);
  recipe.output = detail::read_output(root.section("output"), recipe.name, false);
  root.finish();

  recipe.resolved = root.resolved();
  LoopOptions& loop = recipe.trainer.loop;
  loop.save_every = recipe.output.save_every;
  loop.seed = recipe.seed;
  std::vector<std::string> ignore = {"output",          "validation.every",       "validation.at_start", "train.threads",
                                           "train.recompute", "train.gpu_memory_share", "model.device"};
  for (std::string& key : rank_keys()) ignore.push_back(std::move(key));
  loop.config_digest = to_hex(recipe.resolved->digest(ignore));
  return recipe;
}

PreferenceRows load_preference_source(const PreferenceRowOptions& rows, const std::optional<GeneratedData>& generate, const std::string& key,
                                      std::shared_ptr<const Tokenizer> tokenizer, const std::vector<TokenId>& stop_tokens) {
  return with_context(key, [&] {
    if (!generate) return load_preference_rows(rows, std::move(tokenizer), stop_tokens);
    return make_preference_rows(generate_rows(*generate, rows.sft.dataset.limit, key), rows, std::move(tokenizer), stop_tokens);
  });
}

PreferenceSet take_held_out(PreferenceSet& set, double share, std::uint64_t seed) {
  constexpr std::uint64_t kStream = 0x686f6c64;  // "hold": apart from every other use of the seed
  const std::size_t width = set.pairs ? 2 : 1;
  std::map<std::vector<TokenId>, std::vector<std::int64_t>> by_prompt;
  std::vector<const std::vector<std::int64_t>*> prompts;  // in order of first use
  for (std::int64_t e = 0; e < set.size(); ++e) {
    const TrainSample& s = set.samples[static_cast<std::size_t>(e) * width];
    auto& list = by_prompt[{s.tokens.begin(), s.tokens.begin() + s.prompt_length}];
    if (list.empty()) prompts.push_back(&list);
    list.push_back(e);
  }
  const auto n = static_cast<std::size_t>(std::llround(share * static_cast<double>(prompts.size())));
  if (n == 0 || n >= prompts.size())
    throw ConfigError(message("validation.share = ", share, " of ", prompts.size(), " prompts leaves none for ", n == 0 ? "validation" : "training"));
  StreamRng rng(seed, kStream);
  for (std::size_t i = prompts.size(); i > 1; --i) std::swap(prompts[i - 1], prompts[rng.below(i)]);
  std::vector<std::uint8_t> held(static_cast<std::size_t>(set.size()), 0);
  for (std::size_t i = 0; i < n; ++i)
    for (const std::int64_t e : *prompts[i]) held[static_cast<std::size_t>(e)] = 1;
  PreferenceSet out, kept;
  out.pairs = kept.pairs = set.pairs;
  for (std::size_t e = 0; e < held.size(); ++e) {
    PreferenceSet& to = held[e] ? out : kept;
    for (std::size_t k = 0; k < width; ++k) {
      to.samples.push_back(std::move(set.samples[e * width + k]));
      to.samples.back().group = static_cast<std::uint64_t>(to.samples.size() - 1) / width;
    }
    if (!set.pairs) to.labels.push_back(set.labels[e]);
  }
  set = std::move(kept);
  return out;
}

}  // namespace r1
