#include "recipes/recipe_sft.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "core/rng.h"
#include "recipes/recipe.h"

namespace r1 {
namespace {

constexpr std::int64_t kMany = 1'000'000'000;

// path or generate, and the columns; template and limits come from `base`.
SftSource read_sft_source(ConfigReader& reader, const SftRowOptions& base, const char* split) {
  SftSource out;
  out.rows = base;
  detail::read_source(reader, "path", split, out.rows.dataset.paths, out.generate);
  if (out.generate) {
    out.generate->worked = true;
    for (const char* key : {"messages", "prompt", "completion"}) reader.reject(key, "generated rows have columns of their own");
    out.rows.dataset.prompt_column = "prompt";
    out.rows.completion_column = "completion";
    return out;
  }
  out.rows.messages_column = reader.get<std::string>("messages", "");
  out.rows.dataset.prompt_column = reader.get<std::string>("prompt", "");
  out.rows.completion_column = reader.get<std::string>("completion", "");
  if (!out.rows.messages_column.empty() && !(out.rows.dataset.prompt_column.empty() && out.rows.completion_column.empty()))
    reader.fail("messages", "and prompt or completion are both set; a row is one or the other");
  return out;
}

// The template's keys, shared by all sources and by the evaluation's prompts.
DataSection read_sft_data(ConfigReader reader, SftRecipe& recipe, SftRowOptions& base) {
  DataSection layout;
  detail::read_template(reader, layout);
  layout.skip_bad_rows = reader.get_choice("on_error", "error", std::array<std::string, 2>{"error", "skip"}) == "skip";
  layout.limit = reader.get_in<std::int64_t>("limit", 0, 0, std::int64_t{1} << 40);
  base.dataset = dataset_options(layout);
  base.max_length = reader.get_in<std::int64_t>("max_length", 0, 0, 1 << 24);
  if (base.max_length == 1) reader.fail("max_length", "is 1: an example needs a token to predict another from");
  base.overlong = detail::read_name(reader, "overlong", "error", parse_overlong);
  recipe.trainer.shuffle = reader.get<bool>("shuffle", true);
  if (reader.has("mixture")) {
    for (const char* key : {"path", "generate", "messages", "prompt", "completion"})
      reader.reject(key, "data.mixture is set; its entries have sources and columns of their own");
    for (ConfigReader& part : reader.sections("mixture", "path")) {
      recipe.data.sources.push_back(read_sft_source(part, base, "train"));
      recipe.data.sources.back().weight = part.get_in<double>("weight", 1.0, 0.0, 1e6);
      if (recipe.data.sources.back().weight == 0) part.fail("weight", "is 0: leave the entry out");
    }
    if (recipe.data.sources.empty()) reader.fail("mixture", "is empty; name at least one source");
  } else {
    recipe.data.sources.push_back(read_sft_source(reader, base, "train"));
  }
  layout.limit = 0;
  return layout;
}

void read_sft(ConfigReader sft, SftRecipe& recipe) {
  recipe.trainer.optimizer = detail::read_optimizer(sft, {2e-5, "cosine_with_min_lr", 0.999});
  recipe.trainer.examples_per_update = sft.get_in<std::int64_t>("examples_per_update", 64, 1, 1 << 24);
  recipe.mtp_loss = sft.get_in<double>("mtp_loss", 0.0, 0.0, 10.0);
  // One of the two; the command line's wins over the file's.
  const auto typed = [&](const char* key) { return sft.set_by(key) == Origin::Kind::kCommandLine; };
  const bool steps = sft.has("steps") && !(typed("epochs") && !typed("steps"));
  if (steps && typed("epochs") == typed("steps")) sft.reject("epochs", "sft.steps is set");
  if (steps) {
    recipe.steps = sft.require_in<std::int64_t>("steps", 1, kMany);
    if (sft.has("epochs")) sft.get<double>("epochs", 1.0);
  } else {
    if (sft.has("steps")) sft.get<std::int64_t>("steps", 1);
    recipe.trainer.epochs = sft.get_in<double>("epochs", 1.0, 0.0, 1e6);
    if (recipe.trainer.epochs == 0) sft.fail("epochs", "is 0: nothing would be trained");
  }
  LrOptions& lr = recipe.trainer.optimizer.learning_rate;
  if (sft.has("warmup_ratio")) {
    sft.reject("warmup_steps", "sft.warmup_ratio is set");
    recipe.warmup_ratio = sft.get_in<double>("warmup_ratio", 0.0, 0.0, 1.0);
  } else {
    lr.warmup = sft.get_in<std::int64_t>("warmup_steps", 0, 0, kMany);
  }
}

void read_validation(ConfigReader reader, bool has_eval, const SftRowOptions& base, SftRecipe& recipe) {
  const bool share = reader.has("share");
  if (!share && !reader.has("path") && !reader.has("generate")) {
    for (const std::string& key : reader.keys()) reader.reject(key, "validation has no data; set validation.path, generate or share");
    return;
  }
  SftValidationSection out;
  if (share) {
    for (const char* key : {"path", "generate", "messages", "prompt", "completion", "limit"})
      reader.reject(key, "validation.share takes training examples");
    out.share = reader.get_in<double>("share", 0.0, 0.0, 0.9);
    if (out.share == 0) reader.fail("share", "is 0; leave validation out");
  } else {
    SftRowOptions rows = base;
    rows.dataset.limit = reader.get_in<std::int64_t>("limit", 0, 0, std::int64_t{1} << 40);
    out.source = read_sft_source(reader, rows, "test");
  }
  if (has_eval) {
    for (const char* key : {"every", "at_start"}) reader.reject(key, "there is an evaluation too; both come at eval.every");
  } else {
    recipe.trainer.loop.eval_every = reader.get_in<std::int64_t>("every", 50, 0, kMany);
    recipe.trainer.loop.eval_at_start = reader.get<bool>("at_start", true);
  }
  recipe.validation = std::move(out);
}

}  // namespace

SftRecipe make_sft_recipe(const Config& config, RewardContext context, const char* kind,
                          const std::function<void(ConfigReader&, SftRecipe&)>& more) {
  ConfigReader root(config);
  root.get_choice("kind", "grpo", std::array<std::string, 1>{kind});
  SftRecipe recipe;
  recipe.name = detail::recipe_name(config);
  recipe.seed = root.get<std::uint64_t>("seed", 0);
  recipe.model = detail::read_model(root.section("model"));
  SftRowOptions base;
  const DataSection layout = read_sft_data(root.section("data"), recipe, base);
  read_sft(root.section("sft"), recipe);

  SamplingOptions sampling;
  sampling.max_new_tokens = 512;
  detail::EvalSection eval = detail::read_eval(root.section("eval"), layout, sampling, recipe.seed);
  recipe.eval_data = std::move(eval.data);
  LoopOptions& loop = recipe.trainer.loop;
  loop.eval_every = eval.every, loop.eval_at_start = eval.at_start, recipe.trainer.eval = eval.options;
  if (recipe.eval_data) {
    context.max_new_tokens = recipe.trainer.eval.sampling.max_new_tokens;
    recipe.rubric = std::make_shared<const Rubric>(make_rubric(root.sections("rewards", "name"), context));
  } else {
    root.reject("rewards", "they judge the completions of eval:, which is not there");
  }
  read_validation(root.section("validation"), recipe.eval_data.has_value(), base, recipe);
  ConfigReader train = root.section("train");
  recipe.train = detail::read_train(train);
  recipe.gpu_memory_share = train.get_in<double>("gpu_memory_share", 0.9, 0.05, 1.0);
  if (recipe.model.device == "cpu") train.reject("gpu_memory_share", "model.device is cpu");
  if (recipe.train.tokens_per_micro_batch) recipe.trainer.tokens_per_micro_batch = *recipe.train.tokens_per_micro_batch;
  recipe.lora = detail::read_lora(root, recipe.seed);
  recipe.output = detail::read_output(root.section("output"), recipe.name, false);
  if (more) more(root, recipe);
  root.finish();

  recipe.resolved = root.resolved();
  loop.save_every = recipe.output.save_every;
  loop.seed = recipe.seed;
  std::vector<std::string> ignore = {"output", "eval", "rewards", "validation.every", "validation.at_start", "train.threads", "train.recompute",
                                     "train.gpu_memory_share", "model.device"};
  for (std::string& key : rank_keys()) ignore.push_back(std::move(key));
  if (recipe.trainer.optimizer.learning_rate.schedule == LrSchedule::kConstant) ignore.insert(ignore.end(), {"sft.steps", "sft.epochs"});
  loop.config_digest = to_hex(recipe.resolved->digest(ignore));
  return recipe;
}

SftRows load_sft_source(const SftSource& source, const std::string& key, std::shared_ptr<const Tokenizer> tokenizer,
                        const std::vector<TokenId>& stop_tokens) {
  return with_context(key, [&] {
    if (!source.generate) return load_sft_rows(source.rows, std::move(tokenizer), stop_tokens);
    return make_sft_rows(generate_rows(*source.generate, source.rows.dataset.limit, key), source.rows, std::move(tokenizer), stop_tokens);
  });
}

std::vector<SftExample> take_validation(std::vector<SftExample>& examples, double share, std::uint64_t seed) {
  const auto n = static_cast<std::size_t>(std::llround(share * static_cast<double>(examples.size())));
  if (n == 0 || n == examples.size())
    throw ConfigError(
        message("validation.share = ", share, " of ", examples.size(), " examples leaves no example for ", n == 0 ? "validation" : "training"));
  constexpr std::uint64_t kStream = 0x76616c6964617465ull;  // apart from every other use of the seed
  std::vector<std::size_t> order(examples.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  StreamRng rng(seed, kStream);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.below(i)]);
  std::vector<std::uint8_t> held(examples.size(), 0);
  for (std::size_t i = 0; i < n; ++i) held[order[i]] = 1;
  std::vector<SftExample> out, kept;
  for (std::size_t i = 0; i < examples.size(); ++i) (held[i] ? out : kept).push_back(std::move(examples[i]));
  examples = std::move(kept);
  return out;
}

}  // namespace r1
