#include "recipes/from_trl.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "core/error.h"
#include "core/json_text.h"
#include "core/suggest.h"

namespace r1 {
namespace {

// Keys that change nothing of what is learnt here, and why.
const std::map<std::string, std::string>& ignored_keys() {
  static const std::map<std::string, std::string> keys = [] {
    std::map<std::string, std::string> out;
    const auto add = [&](std::initializer_list<const char*> names, const char* why) {
      for (const char* name : names) out[name] = why;
    };
    add({"attn_implementation", "use_liger_kernel", "use_liger_loss", "trust_remote_code", "torch_compile", "disable_dropout"}, "kernels and models are our own");
    add({"use_vllm", "vllm_mode", "vllm_device", "vllm_gpu_memory_utilization", "vllm_tensor_parallel_size", "vllm_server_host", "vllm_server_port", "vllm_server_base_url",
         "vllm_max_model_len", "vllm_max_model_length", "vllm_dtype", "vllm_server_timeout", "vllm_enable_sleep_mode", "vllm_importance_sampling_correction"},
        "the rollout engine is our own");
    add({"bf16", "fp16", "tf32", "bf16_full_eval"}, "live weights are bfloat16, the optimizer's master float32");
    add({"gradient_checkpointing", "gradient_checkpointing_kwargs", "auto_find_batch_size", "torch_empty_cache_steps", "ds3_gather_for_generation"}, "chosen by the memory that is free");
    add({"report_to", "run_name", "wandb_entity", "wandb_project", "wandb_run_group", "wandb_log_unique_prompts", "logging_steps", "logging_strategy", "logging_first_step", "logging_dir", "log_level",
         "log_completions", "log_unique_prompts", "num_completions_to_print", "include_tokens_per_second", "disable_tqdm"},
        "metrics.jsonl, TensorBoard files and transcripts are always written; r1 watch shows them");
    add({"push_to_hub", "hub_model_id", "hub_model_revision", "hub_strategy", "hub_private_repo", "push_to_hub_revision", "overwrite_hub_revision"}, "r1 card makes a folder to upload");
    add({"overwrite_output_dir"}, "r1 train --overwrite");
    add({"eval_strategy", "do_eval", "do_train", "eval_on_start", "per_device_eval_batch_size", "dataset_test_split", "benchmarks", "callbacks"}, "set eval.data for an evaluation");
    add({"dataset_num_proc", "dataloader_num_workers", "dataloader_drop_last", "remove_unused_columns", "preprocessing_num_workers", "pad_to_multiple_of", "packing_strategy", "padding_free", "packing",
         "group_by_length", "ddp_timeout", "ddp_find_unused_parameters", "fsdp", "deepspeed", "use_reentrant", "optim", "save_only_model", "load_best_model_at_end", "save_safetensors"},
        "no such choice here: examples are packed without padding, checkpoints hold all of it, the optimizer is AdamW");
    return out;
  }();
  return keys;
}

class Importer {
 public:
  Importer(const Config& theirs, const TrlOptions& options) : theirs_(theirs), options_(options) {
    if (theirs.root().kind != ConfigValue::Kind::kMap) throw ConfigError(message(theirs.name(), " holds no settings"));
    for (const auto& [key, value] : theirs.root().entries) left_.insert(key);
  }
  TrlImport run();

 private:
  const ConfigValue* take(const std::string& key) {
    known_.insert(key);
    left_.erase(key);
    const ConfigValue* v = theirs_.root().find(key);
    return v && v->kind != ConfigValue::Kind::kNull ? v : nullptr;
  }
  std::optional<std::string> text(const std::string& key) {
    const ConfigValue* v = take(key);
    if (!v) return std::nullopt;
    if (v->kind != ConfigValue::Kind::kScalar) fail(key, "is " + std::string(to_string(v->kind)) + ", expected a single value");
    return v->text;
  }
  double number(const std::string& key, double fallback) {
    const auto t = text(key);
    if (!t) return fallback;
    char* end = nullptr;
    const double v = std::strtod(t->c_str(), &end);
    if (end == t->c_str() || *end != '\0') fail(key, "is '" + *t + "', expected a number");
    return v;
  }
  bool flag(const std::string& key, bool fallback) {
    const auto t = text(key);
    if (!t) return fallback;
    if (*t == "true" || *t == "True") return true;
    if (*t == "false" || *t == "False") return false;
    fail(key, "is '" + *t + "', expected true or false");
  }
  [[noreturn]] void fail(const std::string& key, const std::string& why) const {
    const ConfigValue* v = theirs_.root().find(key);
    throw ConfigError(message(v ? v->origin.text : theirs_.name(), ": '", key, "' ", why));
  }
  std::string written(const std::string& key) const {
    const ConfigValue* v = theirs_.root().find(key);
    return v ? write_inline(*v) : "(default)";
  }
  // One line of the recipe, and of the mapping where the recipe set it.
  void put(const std::string& ours, const std::string& value, std::initializer_list<std::string> from = {}) {
    values_[ours.substr(0, ours.find('.'))].emplace_back(ours.substr(ours.find('.') + 1), value);
    std::string sources;
    for (const std::string& key : from)
      if (theirs_.root().find(key)) sources += (sources.empty() ? "" : ", ") + key + ": " + written(key);
    if (!sources.empty()) out_.mapped.push_back(sources + " -> " + ours + ": " + value);
  }
  static std::string plain(double v) { return json_number(v); }

  void model();
  void data(bool rl);
  void optimizer(const std::string& section, double rate, std::int64_t steps);
  void output();
  void sampling();
  void batch();
  void loss();
  void rewards();
  std::int64_t planned_steps(double completions_or_examples, std::int64_t updates);

  const Config& theirs_;
  const TrlOptions& options_;
  std::set<std::string> left_, known_;
  std::map<std::string, std::vector<std::pair<std::string, std::string>>> values_;
  std::vector<std::string> rewards_;
  std::int64_t budget_ = 256, group_ = 8, steps_ = 0;
  TrlImport out_;
};

void Importer::model() {
  const auto name = text("model_name_or_path");
  if (!name) fail("model_name_or_path", "is missing");
  const std::string revision = text("model_revision").value_or("main");
  put("model.path", json_quote(revision == "main" ? *name : *name + "@" + revision), {"model_name_or_path", "model_revision"});
  std::string dtype = text("torch_dtype").value_or(text("dtype").value_or("bfloat16"));
  if (dtype == "auto" || dtype == "float16") dtype = "bfloat16";
  if (dtype != "bfloat16" && dtype != "float32") fail("torch_dtype", "is " + dtype + "; bfloat16 and float32 are known");
  put("model.dtype", dtype, {"torch_dtype", "dtype"});
  for (const char* key : {"load_in_4bit", "load_in_8bit", "use_dora"})
    if (flag(key, false)) fail(key, "is true; r1 has no such weights");
  if (flag("use_peft", false)) {
    put("lora.rank", plain(number("lora_r", 16)), {"use_peft", "lora_r"});
    put("lora.alpha", plain(number("lora_alpha", 32)), {"lora_alpha"});
    if (number("lora_dropout", 0.05) != 0) out_.ignored.push_back("lora_dropout: LoRA runs here have none");
    if (const ConfigValue* t = take("lora_target_modules")) put("lora.targets", write_inline(*t), {"lora_target_modules"});
  } else {
    for (const char* key : {"lora_r", "lora_alpha", "lora_dropout", "lora_target_modules"})
      if (take(key)) out_.ignored.push_back(std::string(key) + ": use_peft is not true");
  }
}

void Importer::data(bool rl) {
  if (take("dataset_mixture")) fail("dataset_mixture", "is a mixture; write its parts under data: mixture (kind sft), or as several files of data.path");
  const auto name = text("dataset_name");
  if (!name) fail("dataset_name", "is missing");
  const std::string config = text("dataset_config").value_or(text("dataset_config_name").value_or("")), split = text("dataset_train_split").value_or("train");
  const bool local = name->find('.') != std::string::npos && (name->ends_with(".jsonl") || name->ends_with(".json") || name->ends_with(".parquet"));
  const std::string path = local ? *name : message("hf://", *name, config.empty() ? "" : "/" + config, split == "train" ? "" : "?split=" + split);
  put("data.path", json_quote(path), {"dataset_name", "dataset_config", "dataset_train_split"});
  if (const auto column = text("dataset_prompt_column")) put("data.prompt", json_quote(*column), {"dataset_prompt_column"});
  if (const auto column = text("dataset_text_field"); column && *column != "text") fail("dataset_text_field", "is " + *column + "; rename the column to text");
  if (const auto system = text("system_prompt")) put("data.system_prompt", json_quote(*system), {"system_prompt"});
  if (const auto chat = text("chat_template")) {
    if (options_.chat_template_file.empty()) fail("chat_template", "is written in the recipe; there is no place for its file");
    out_.chat_template = *chat;
    put("data.template", "file", {"chat_template"});
    put("data.template_file", json_quote(options_.chat_template_file));
  }
  if (const auto tokens = text("eos_token")) out_.ignored.push_back("eos_token: the model's generation_config.json names the stop tokens; r1 doctor says whether the template ends with one");
  if (rl) {
    if (const double longest = number("max_prompt_length", 0); longest > 0) {
      put("data.max_prompt_tokens", plain(longest), {"max_prompt_length"});
      put("data.on_error", "skip");  // TRL cuts such prompts at their beginning
    }
  } else {
    const double longest = number("max_length", number("max_seq_length", 1024));
    put("data.max_length", plain(longest), {"max_length", "max_seq_length"});
    put("data.overlong", "truncate");
  }
  if (!flag("shuffle_dataset", true)) put("data.shuffle", "false", {"shuffle_dataset"});
}

void Importer::optimizer(const std::string& section, double rate, std::int64_t steps) {
  put(section + ".learning_rate", plain(number("learning_rate", rate)), {"learning_rate"});
  const std::string schedule = text("lr_scheduler_type").value_or("linear");
  const std::map<std::string, std::string> names = {{"constant", "constant"}, {"constant_with_warmup", "constant"}, {"linear", "linear"}, {"cosine", "cosine"}, {"cosine_with_min_lr", "cosine_with_min_lr"}};
  const auto found = names.find(schedule);
  if (found == names.end()) fail("lr_scheduler_type", "is " + schedule + "; constant, constant_with_warmup, linear, cosine and cosine_with_min_lr are known");
  put(section + ".lr_schedule", found->second, {"lr_scheduler_type"});
  if (const ConfigValue* kwargs = take("lr_scheduler_kwargs")) {
    const ConfigValue* rate_of = kwargs->find("min_lr_rate");
    if (!rate_of || kwargs->entries.size() != 1) fail("lr_scheduler_kwargs", "holds other things than min_lr_rate");
    if (schedule == "cosine_with_min_lr") put(section + ".min_lr_ratio", rate_of->text, {"lr_scheduler_kwargs"});
  }
  const double ratio = number("warmup_ratio", 0), warmup = number("warmup_steps", 0);
  if (section == "sft" && ratio > 0 && warmup == 0) put("sft.warmup_ratio", plain(ratio), {"warmup_ratio"});
  else put(section + ".warmup_steps", plain(warmup > 0 ? warmup : std::ceil(ratio * static_cast<double>(steps))), {"warmup_steps", "warmup_ratio"});
  put(section + ".weight_decay", plain(number("weight_decay", 0)), {"weight_decay"});
  put(section + ".max_grad_norm", plain(number("max_grad_norm", 1)), {"max_grad_norm"});
  put(section + ".adam_beta1", plain(number("adam_beta1", 0.9)), {"adam_beta1"});
  put(section + ".adam_beta2", plain(number("adam_beta2", 0.999)), {"adam_beta2"});
  put(section + ".adam_epsilon", plain(number("adam_epsilon", 1e-8)), {"adam_epsilon"});
}

void Importer::output() {
  put("output.dir", json_quote(text("output_dir").value_or("runs/from_trl")), {"output_dir"});
  const std::string strategy = text("save_strategy").value_or("steps");
  const double every = number("save_steps", 500);
  put("output.save_every", strategy == "steps" && every >= 1 ? plain(every) : "0", {"save_strategy", "save_steps"});
  put("output.keep", plain(number("save_total_limit", 0)), {"save_total_limit"});
  if (const double steps = number("eval_steps", 0); steps > 0) out_.ignored.push_back("eval_steps: set eval.data and eval.every for an evaluation");
}

void Importer::sampling() {
  group_ = static_cast<std::int64_t>(number("num_generations", 8));
  budget_ = static_cast<std::int64_t>(number("max_completion_length", 256));
  put("rollout.samples_per_prompt", std::to_string(group_), {"num_generations"});
  put("rollout.max_new_tokens", std::to_string(budget_), {"max_completion_length"});
  put("rollout.temperature", plain(number("temperature", 1.0)), {"temperature"});
  if (const double p = number("top_p", 1); p < 1) put("rollout.top_p", plain(p), {"top_p"});
  if (const double k = number("top_k", 0); k > 0) put("rollout.top_k", plain(k), {"top_k"});
  if (const double p = number("min_p", 0); p > 0) put("rollout.min_p", plain(p), {"min_p"});
  if (number("repetition_penalty", 1) != 1) fail("repetition_penalty", "is not 1: the sampler has no such penalty (reward repetition_penalty is another thing)");
}

std::int64_t Importer::planned_steps(double per_update, std::int64_t updates) {
  const double most = number("max_steps", -1), epochs = number("num_train_epochs", 3);
  if (most > 0) return static_cast<std::int64_t>(most);
  if (!options_.rows) throw ConfigError(message(theirs_.name(), ": num_train_epochs is ", epochs, " and the number of rows is not known; give --rows N, or max_steps in the file"));
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(epochs * static_cast<double>(*options_.rows) / per_update)) * updates);
}

void Importer::batch() {
  const double device = number("per_device_train_batch_size", 8), accumulation = number("gradient_accumulation_steps", 1);
  const double update = device * accumulation * options_.processes;
  const double generations = number("steps_per_generation", accumulation), rollout = number("generation_batch_size", device * generations * options_.processes);
  if (rollout < static_cast<double>(group_) || std::fmod(rollout, static_cast<double>(group_)) != 0)
    fail("num_generations", message("= ", group_, " does not divide the ", rollout, " completions of a rollout (per_device_train_batch_size x steps_per_generation x processes, ", options_.processes,
                                    "); --processes says how many GPUs the recipe was meant for"));
  const double prompts = rollout / static_cast<double>(group_);
  put("rl.prompts_per_rollout", plain(prompts), {"per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation", "generation_batch_size"});
  const auto updates = static_cast<std::int64_t>(std::max(1.0, rollout / update));
  put("rl.updates_per_rollout", std::to_string(updates));
  const auto passes = static_cast<std::int64_t>(number("num_iterations", 1));
  put("rl.passes_per_rollout", std::to_string(passes), {"num_iterations"});
  steps_ = planned_steps(prompts, updates * passes);
  put("rl.steps", std::to_string(steps_), {"max_steps", "num_train_epochs"});
}

void Importer::loss() {
  const double low = number("epsilon", 0.2);
  put("rl.clip_low", plain(low), {"epsilon"});
  put("rl.clip_high", plain(number("epsilon_high", low)), {"epsilon_high"});
  if (take("delta")) fail("delta", "(two-sided clipping) is not known here");
  const double beta = number("beta", 0);
  put("rl.kl.coefficient", plain(beta), {"beta"});
  const std::string type = text("loss_type").value_or("dapo");
  const std::map<std::string, std::string> types = {{"grpo", "seq_mean_token_mean"}, {"dapo", "token_mean"}, {"bnpo", "token_mean"}, {"dr_grpo", "seq_mean_token_sum_norm"}};
  const auto found = types.find(type);
  if (found == types.end()) fail("loss_type", "is " + type + "; grpo, dapo, bnpo and dr_grpo are mapped (rl.surrogate has cispo, sapo and vespo)");
  put("rl.aggregation", found->second, {"loss_type"});
  const std::string scale = text("scale_rewards").value_or("group");
  const std::map<std::string, std::string> scales = {{"group", "group_zscore"}, {"true", "group_zscore"}, {"True", "group_zscore"}, {"batch", "batch_std"}, {"none", "group_mean"}, {"false", "group_mean"}, {"False", "group_mean"}};
  const auto kind = scales.find(scale);
  if (kind == scales.end()) fail("scale_rewards", "is " + scale + "; group, batch and none are known");
  put("rl.advantage.kind", kind->second, {"scale_rewards"});
  if (kind->second != "group_mean") put("rl.advantage.epsilon", "1e-4");
  const std::string level = text("importance_sampling_level").value_or("token");
  if (level != "token" && level != "sequence") fail("importance_sampling_level", "is " + level + "; token and sequence are known");
  put("rl.ratio_level", level, {"importance_sampling_level"});
  put("rl.overlong_filter", flag("mask_truncated_completions", false) ? "true" : "false", {"mask_truncated_completions"});
  if (flag("sync_ref_model", false)) {
    if (beta == 0) fail("sync_ref_model", "is true, but beta is 0: there is no reference model");
    if (number("ref_model_mixup_alpha", 0.6) != 1) out_.ignored.push_back("ref_model_mixup_alpha: the reference is replaced, not mixed");
    put("rl.kl.reference_refresh", plain(number("ref_model_sync_steps", 512)), {"sync_ref_model", "ref_model_sync_steps"});
  } else {
    take("ref_model_mixup_alpha"), take("ref_model_sync_steps");
  }
  if (const double c = number("entropy_coef", 0); c != 0) put("rl.entropy_coefficient", plain(c), {"entropy_coef"});
  if (const double q = number("top_entropy_quantile", 1); q != 1) put("rl.top_entropy_quantile", plain(q), {"top_entropy_quantile"});
}

void Importer::rewards() {
  const ConfigValue* funcs = take("reward_funcs");
  if (!funcs) fail("reward_funcs", "is missing: a reward model or Python functions go under rewards: (docs/user_rewards.md)");
  std::vector<std::string> names, weights;
  if (funcs->kind == ConfigValue::Kind::kScalar) names.push_back(funcs->text);
  for (const ConfigValue& f : funcs->items) names.push_back(f.text);
  if (const ConfigValue* w = take("reward_weights"))
    for (const ConfigValue& v : w->items) weights.push_back(v.text);
  if (!weights.empty() && weights.size() != names.size()) fail("reward_weights", message("has ", weights.size(), " values for ", names.size(), " reward_funcs"));
  const auto options = [&](std::initializer_list<std::pair<const char*, const char*>> list) {
    std::string more;
    for (const auto& [theirs, ours] : list)
      if (const auto v = text(theirs)) more += message(", ", ours, ": ", *v), out_.mapped.push_back(message(theirs, ": ", *v, " -> rewards: ", ours, ": ", *v));
    return more;
  };
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string& n = names[i];
    std::string entry;
    if (n == "accuracy") entry = "name: math";
    else if (n == "format" || n == "tag_count") entry = "name: " + n;
    else if (n == "length") entry = "name: length, mode: relative";
    else if (n == "cosine")
      entry = "name: cosine" + options({{"cosine_min_value_wrong", "min_value_wrong"}, {"cosine_max_value_wrong", "max_value_wrong"}, {"cosine_min_value_correct", "min_value_correct"},
                                        {"cosine_max_value_correct", "max_value_correct"}, {"cosine_max_len", "max_len"}});
    else if (n == "repetition_penalty") entry = "name: repetition_penalty" + options({{"repetition_n_grams", "ngram_size"}, {"repetition_max_penalty", "max_penalty"}});
    else if (n == "soft_overlong_punishment") entry = "name: soft_overlong_punishment" + options({{"soft_punish_cache", "soft_punish_cache"}, {"max_completion_len", "max_completion_len"}});
    else if (n == "code") entry = "name: code, tests: verification_info";
    else if (n == "binary_code") entry = "name: code, tests: verification_info, pay: all";
    else if (n == "ioi_code" || n == "cf_code" || n == "code_format" || n == "reasoning_steps" || n == "get_missing_code_format_reward")
      fail("reward_funcs", "names " + n + ", which is no reward here; write it as {python: FILE:FUNCTION} (docs/user_rewards.md) and take it out of this list");
    else if (n.find('.') != std::string::npos) fail("reward_funcs", "names the Python function " + n + "; write it as {python: FILE:FUNCTION} under rewards:");
    else {
      const std::vector<std::string> known = {"accuracy", "format", "tag_count", "length", "cosine", "repetition_penalty", "soft_overlong_punishment", "code", "binary_code"};
      const std::string near = nearest_name(n, known);
      fail("reward_funcs", message("names ", n, near.empty() ? "" : "; did you mean " + near + "?", " Known: ", join_names(known)));
    }
    const std::string weight = weights.empty() ? "1" : weights[i];
    rewards_.push_back(message("{", entry, ", weight: ", weight, "}"));
    out_.mapped.push_back(message("reward_funcs: ", n, weights.empty() ? "" : message(" (reward_weights: ", weight, ")"), " -> rewards: ", rewards_.back()));
  }
  for (const char* key : {"cosine_min_value_wrong", "cosine_max_value_wrong", "cosine_min_value_correct", "cosine_max_value_correct", "cosine_max_len", "repetition_n_grams", "repetition_max_penalty",
                          "soft_punish_cache", "max_completion_len", "code_language", "code_provider", "parallel_code_exec_per_proc", "e2b_router_url", "morph_router_url"})
    if (left_.contains(key) && take(key)) out_.ignored.push_back(std::string(key) + ": no reward of this recipe reads it");
}

TrlImport Importer::run() {
  const bool rl = theirs_.root().find("reward_funcs") || theirs_.root().find("num_generations") || theirs_.root().find("max_completion_length");
  model();
  data(rl);
  if (rl) {
    sampling();
    batch();
    optimizer("rl", 1e-6, steps_);
    loss();
    rewards();
  } else {
    const double examples = number("per_device_train_batch_size", 8) * number("gradient_accumulation_steps", 1) * options_.processes;
    put("sft.examples_per_update", plain(examples), {"per_device_train_batch_size", "gradient_accumulation_steps"});
    if (const double most = number("max_steps", -1); most > 0) put("sft.steps", plain(most), {"max_steps"}), take("num_train_epochs");
    else put("sft.epochs", plain(number("num_train_epochs", 3)), {"num_train_epochs"});
    optimizer("sft", 2e-5, 0);
  }
  output();
  const std::string seed = plain(number("seed", 42));
  if (take("seed")) out_.mapped.push_back("seed: " + seed + " -> seed: " + seed);
  take("data_seed");
  for (const auto& [key, why] : ignored_keys()) {
    known_.insert(key);
    if (left_.erase(key)) out_.ignored.push_back(key + ": " + why);
  }
  if (!left_.empty()) {
    const std::vector<std::string> known(known_.begin(), known_.end());
    const std::string near = nearest_name(*left_.begin(), known);
    fail(*left_.begin(), message("is not known", near.empty() ? "" : "; did you mean '" + near + "'?", left_.size() > 1 ? message(" (and ", left_.size() - 1, " more unknown keys)") : "",
                                 "; take it out, or set its counterpart in the recipe that --import-only writes"));
  }
  out_.yaml = message("# Imported from ", theirs_.name(), "\nschema: 1\nkind: ", rl ? "grpo" : "sft", "\nseed: ", seed, "\n");
  for (const char* section : {"model", "lora", "data", "rollout", "rl", "sft", "output"}) {
    const auto it = values_.find(section);
    if (it == values_.end()) continue;
    out_.yaml += std::string(section) + ":\n";
    std::map<std::string, std::string> nested;  // "kl.coefficient"
    for (const auto& [key, value] : it->second) {
      const std::size_t dot = key.find('.');
      if (dot == std::string::npos) out_.yaml += "  " + key + ": " + value + "\n";
      else nested[key.substr(0, dot)] += (nested[key.substr(0, dot)].empty() ? "" : ", ") + key.substr(dot + 1) + ": " + value;
    }
    for (const auto& [key, body] : nested) out_.yaml += "  " + key + ": {" + body + "}\n";
  }
  if (!rewards_.empty()) out_.yaml += "rewards:\n";
  for (const std::string& r : rewards_) out_.yaml += "  - " + r + "\n";
  return std::move(out_);
}

}  // namespace

TrlImport import_trl(const Config& theirs, const TrlOptions& options) { return Importer(theirs, options).run(); }

}  // namespace r1
