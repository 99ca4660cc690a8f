#include "recipes/from_trl.h"

#include <algorithm>

#include <doctest/doctest.h>

#include "core/error.h"
#include "recipes/recipe.h"
#include "recipes/recipe_sft.h"
#include "tests/support/errors.h"

namespace r1 {
namespace {

// The settings of open-r1's GRPO demo (keys and values; peers.md section 4).
const char* kGrpo = R"(model_name_or_path: Qwen/Qwen2.5-1.5B-Instruct
model_revision: main
torch_dtype: bfloat16
attn_implementation: flash_attention_2
dataset_name: open-r1/OpenR1-Math-220k
dataset_prompt_column: problem
system_prompt: "Think first. Then answer."
bf16: true
use_vllm: true
do_eval: false
gradient_accumulation_steps: 4
gradient_checkpointing: true
gradient_checkpointing_kwargs: {use_reentrant: false}
learning_rate: 2.0e-05
log_completions: true
lr_scheduler_type: cosine
max_prompt_length: 512
max_completion_length: 1024
max_steps: -1
num_generations: 16
num_train_epochs: 1
output_dir: data/demo
overwrite_output_dir: true
per_device_train_batch_size: 16
push_to_hub: true
report_to: [wandb]
reward_funcs: [accuracy, format, tag_count]
reward_weights: [1.0, 1.0, 0.5]
save_strategy: epoch
save_total_limit: 1
seed: 42
temperature: 0.7
warmup_ratio: 0.1
)";

TrlImport import(const std::string& yaml, std::vector<std::string> overrides = {}, TrlOptions options = {}) { return import_trl(Config::parse(yaml, "theirs.yaml", overrides), options); }
std::string error_of(const std::string& yaml, std::vector<std::string> overrides) {
  TrlOptions options;
  options.rows = 1000;
  try {
    import(yaml, std::move(overrides), options);
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "no error";
}
using test::contains;

bool has(const std::vector<std::string>& lines, const std::string& part) {
  return std::any_of(lines.begin(), lines.end(), [&](const std::string& l) { return l.find(part) != std::string::npos; });
}

TEST_CASE("open-r1's GRPO demo becomes a recipe that means the same") {
  TrlOptions options;
  options.rows = 93'733;
  options.processes = 7;
  const TrlImport got = import(kGrpo, {}, options);
  const Recipe r = parse_recipe(got.yaml, "ours.yaml");
  CHECK(r.model.path == "Qwen/Qwen2.5-1.5B-Instruct");
  CHECK(r.data.files == std::vector<std::string>{"hf://open-r1/OpenR1-Math-220k"});
  CHECK(r.data.prompt == "problem");
  CHECK(r.data.system_prompt == "Think first. Then answer.");
  CHECK(r.data.max_prompt_tokens == 512);
  CHECK(r.trainer.samples_per_prompt == 16);
  CHECK(r.trainer.prompts_per_rollout == 16 * 4 * 7 / 16);  // 448 completions, one update
  CHECK(r.learner.updates_per_rollout == 1);
  CHECK(r.trainer.steps == (93'733 + 27) / 28);
  CHECK(r.trainer.sampling.max_new_tokens == 1024);
  CHECK(r.trainer.sampling.temperature == 0.7f);
  CHECK(r.learner.optimizer.learning_rate.peak == 2e-5);
  CHECK(r.learner.optimizer.learning_rate.schedule == LrSchedule::kCosine);
  CHECK(r.learner.optimizer.learning_rate.warmup == 335);
  CHECK(r.learner.optimizer.beta2 == 0.999);
  CHECK(r.learner.loss.aggregation == Aggregation::kTokenMean);
  CHECK(r.learner.loss.surrogate.get("clip_high") == 0.2);  // TRL's where it is silent
  CHECK_FALSE(r.learner.needs_reference());
  CHECK(r.trainer.train_samples.advantage.epsilon == 1e-4);
  REQUIRE(r.rubric->entries().size() == 3);
  CHECK(r.rubric->entries()[0].reward->name() == "math");
  CHECK(r.rubric->entries()[2].weight == 0.5f);
  CHECK(r.output.dir == "data/demo");
  CHECK(r.output.keep == 1);
  CHECK(r.output.save_every == 0);
  CHECK(r.trainer.seed == 42);
  CHECK(has(got.mapped, "num_generations: 16 -> rollout.samples_per_prompt: 16"));
  CHECK(has(got.mapped, "reward_funcs: accuracy (reward_weights: 1.0) -> rewards: {name: math, weight: 1.0}"));
  CHECK(has(got.ignored, "use_vllm: the rollout engine is our own"));
  // Every key of the file is accounted for.
  const Config theirs = Config::parse(kGrpo, "t");
  for (const auto& [key, value] : theirs.root().entries)
    if (key != "max_steps") CHECK_MESSAGE((has(got.mapped, key + ": ") || has(got.ignored, key + ": ")), key);
}

TEST_CASE("several updates a rollout, KL, aggregation, rewards with options") {
  const TrlImport got = import(kGrpo, {"max_steps=100", "steps_per_generation=8", "num_iterations=2", "beta=0.04", "loss_type=grpo", "scale_rewards=false", "epsilon_high=0.28",
                                       "reward_funcs=[accuracy, cosine, repetition_penalty, soft_overlong_punishment]", "reward_weights=[1, 1, 1, 1]", "cosine_min_value_wrong=-1",
                                       "cosine_max_value_wrong=-0.5", "cosine_max_len=1000", "repetition_n_grams=4", "repetition_max_penalty=-0.5", "soft_punish_cache=64",
                                       "lr_scheduler_type=cosine_with_min_lr", "lr_scheduler_kwargs={min_lr_rate: 0.1}", "use_peft=true", "lora_r=8", "lora_alpha=16", "save_strategy=steps", "save_steps=25"});
  const Recipe r = parse_recipe(got.yaml, "ours.yaml");
  CHECK(r.trainer.steps == 100);
  CHECK(r.trainer.prompts_per_rollout == 8);
  CHECK(r.learner.updates_per_rollout == 2);
  CHECK(r.learner.passes_per_rollout == 2);
  CHECK(r.learner.loss.kl_coefficient == 0.04);
  CHECK(r.learner.loss.aggregation == Aggregation::kSeqMeanTokenMean);
  CHECK(r.trainer.train_samples.advantage.kind == AdvantageKind::kGroupMean);
  CHECK(r.learner.loss.surrogate.get("clip_high") == 0.28);
  CHECK(r.learner.optimizer.learning_rate.min_ratio == 0.1);
  CHECK(r.rubric->entries().size() == 4);
  REQUIRE(r.lora);
  CHECK(r.lora->options.rank == 8);
  CHECK(r.output.save_every == 25);
  // open-r1's script default pays short wrong answers most; it is imported as it stands and refused by the reward.
  const TrlImport odd = import(kGrpo, {"max_steps=100", "reward_funcs=[cosine]", "reward_weights=[1]", "cosine_min_value_wrong=0", "cosine_max_value_wrong=-0.5", "cosine_max_len=1000"});
  CHECK_THROWS_WITH_AS(parse_recipe(odd.yaml, "ours.yaml"), doctest::Contains("min_value_wrong' must not be above max_value_wrong"), ConfigError);
}

TEST_CASE("open-r1's distillation SFT becomes a recipe of kind sft") {
  const TrlImport got = import(R"(model_name_or_path: open-r1/Qwen2.5-Math-7B-RoPE-300k
torch_dtype: bfloat16
dataset_name: open-r1/Mixture-of-Thoughts
dataset_config: all
chat_template: "{% for m in messages %}{{ m.content }}{% endfor %}"
eos_token: <|im_end|>
learning_rate: 4.0e-05
lr_scheduler_type: cosine_with_min_lr
lr_scheduler_kwargs: {min_lr_rate: 0.1}
packing: false
max_length: 32768
max_grad_norm: 0.2
num_train_epochs: 5
per_device_train_batch_size: 2
gradient_accumulation_steps: 8
use_liger_kernel: true
warmup_ratio: 0.03
output_dir: data/distill
)", {}, {8, std::nullopt, "recipes/r1_zero.yaml"});  // any file that is there
  CHECK(got.chat_template == "{% for m in messages %}{{ m.content }}{% endfor %}");
  CHECK(contains(got.yaml, "kind: sft"));
  CHECK(contains(got.yaml, "hf://open-r1/Mixture-of-Thoughts/all"));
  CHECK(contains(got.yaml, "examples_per_update: 128"));
  CHECK(contains(got.yaml, "epochs: 5"));
  CHECK(contains(got.yaml, "max_grad_norm: 0.2"));
  CHECK(contains(got.yaml, "warmup_ratio: 0.03"));
  CHECK(contains(got.yaml, "max_length: 32768"));
}

TEST_CASE("what cannot be mapped is an error that names it") {
  CHECK(contains(error_of(kGrpo, {"num_generation=4"}), "'num_generation' is not known; did you mean 'num_generations'?"));
  CHECK(contains(error_of(kGrpo, {"reward_funcs=[acuracy]", "reward_weights=[1]"}), "did you mean accuracy?"));
  CHECK(contains(error_of(kGrpo, {"reward_funcs=[ioi_code]", "reward_weights=[1]"}), "no reward here"));
  CHECK(contains(error_of(kGrpo, {"loss_type=vespo"}), "loss_type"));
  CHECK(contains(error_of(kGrpo, {"delta=4"}), "two-sided"));
  CHECK(contains(error_of(kGrpo, {"num_generations=15"}), "does not divide"));
  CHECK(contains(error_of(kGrpo, {"reward_weights=[1]"}), "1 values for 3"));
  CHECK(contains(error_of(kGrpo, {"learning_rate=fast"}), "expected a number"));
  CHECK(contains(error_of(kGrpo, {"chat_template=x"}), "no place for its file"));
  CHECK(contains(error_of("num_generations: 8\n", {}), "model_name_or_path"));
  try {
    import(kGrpo);
    FAIL("epochs without rows");
  } catch (const ConfigError& e) {
    CHECK(contains(e.what(), "give --rows N"));
  }
}

}  // namespace
}  // namespace r1
