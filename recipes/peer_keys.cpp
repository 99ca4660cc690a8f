#include "recipes/peer_keys.h"

#include <algorithm>
#include <array>

#include "core/error.h"

namespace r1 {
namespace {

constexpr auto kKeys = std::to_array<PeerKey>({
    {"model_name_or_path", "TRL", "model.path", ""},
    {"model_revision", "TRL", "", "write it behind the name: model.path: org/model@revision"},
    {"torch_dtype", "TRL", "model.dtype", ""},
    {"attn_implementation", "TRL", "", "kernels are our own"},
    {"dataset_name", "TRL", "data.path", "a hub data set is hf://org/name"},
    {"dataset_config", "TRL", "data.path", "hf://org/name/config"},
    {"dataset_train_split", "TRL", "data.path", "hf://org/name?split=..."},
    {"dataset_prompt_column", "TRL", "data.prompt", ""},
    {"chat_template", "TRL", "data.template_file", "with data.template: file; the template is in a file of its own"},
    {"learning_rate", "TRL", "rl.learning_rate", ""},
    {"lr", "verl", "rl.learning_rate", ""},
    {"lr_scheduler_type", "TRL", "rl.lr_schedule", ""},
    {"lr_scheduler_kwargs", "TRL", "rl.min_lr_ratio", "its min_lr_rate"},
    {"warmup_ratio", "TRL", "rl.warmup_steps", "updates, not a share of them"},
    {"per_device_train_batch_size", "TRL", "rl.prompts_per_rollout", "completions of an update = rl.prompts_per_rollout x rollout.samples_per_prompt / "
     "rl.updates_per_rollout; micro-batches are chosen by memory"},
    {"gradient_accumulation_steps", "TRL", "rl.prompts_per_rollout", "micro-batches are chosen by memory and never change the gradient"},
    {"steps_per_generation", "TRL", "rl.updates_per_rollout", ""},
    {"num_train_epochs", "TRL", "rl.steps", "updates; an epoch has rows / rl.prompts_per_rollout rollouts"},
    {"max_steps", "TRL", "rl.steps", ""},
    {"num_generations", "TRL", "rollout.samples_per_prompt", ""},
    {"num_iterations", "TRL", "rl.passes_per_rollout", ""},
    {"max_prompt_length", "TRL", "data.max_prompt_tokens", ""},
    {"max_completion_length", "TRL", "rollout.max_new_tokens", ""},
    {"max_tokens", "others", "rollout.max_new_tokens", ""},
    {"n_samples_per_prompt", "OpenRLHF", "rollout.samples_per_prompt", ""},
    {"train_batch_size", "verl", "rl.prompts_per_rollout", "prompts of a rollout"},
    {"ppo_mini_batch_size", "verl", "rl.updates_per_rollout", "prompts_per_rollout / ppo_mini_batch_size"},
    {"ppo_micro_batch_size_per_gpu", "verl", "train.tokens_per_micro_batch", "tokens; chosen by memory if left out"},
    {"ppo_epochs", "verl", "rl.passes_per_rollout", ""},
    {"max_response_length", "verl", "rollout.max_new_tokens", ""},
    {"beta", "TRL", "rl.kl.coefficient", ""},
    {"kl_coef", "verl", "rl.kl.coefficient", ""},
    {"kl_loss_coef", "verl", "rl.kl.coefficient", ""},
    {"epsilon", "TRL", "rl.clip_low", ""},
    {"epsilon_high", "TRL", "rl.clip_high", ""},
    {"clip_ratio_low", "verl", "rl.clip_low", ""},
    {"clip_ratio_high", "verl", "rl.clip_high", ""},
    {"adv_estimator", "verl", "rl.advantage.kind", ""},
    {"scale_rewards", "TRL", "rl.advantage.kind", "group = group_zscore, none = group_mean"},
    {"loss_type", "TRL", "rl.aggregation", ""},
    {"loss_agg_mode", "verl", "rl.aggregation", ""},
    {"reward_funcs", "TRL", "rewards", "a list of {name, weight}"},
    {"reward_weights", "TRL", "rewards.N.weight", ""},
    {"mask_truncated_completions", "TRL", "rl.overlong_filter", ""},
    {"sync_ref_model", "TRL", "rl.kl.reference_refresh", "updates between two copies"},
    {"ref_model_sync_steps", "TRL", "rl.kl.reference_refresh", ""},
    {"use_vllm", "TRL", "", "the rollout engine is our own"},
    {"save_strategy", "TRL", "output.save_every", ""},
    {"save_steps", "TRL", "output.save_every", ""},
    {"save_total_limit", "TRL", "output.keep", ""},
    {"output_dir", "TRL", "output.dir", ""},
    {"eval_steps", "TRL", "eval.every", ""},
    {"log_completions", "TRL", "output.samples_every", "transcripts are always written"},
    {"report_to", "TRL", "", "metrics.jsonl and TensorBoard files are always written; r1 watch shows them"},
    {"packing", "TRL", "", "always on; examples never attend to one another"},
    {"gradient_checkpointing", "TRL", "train.recompute", ""},
    {"bf16", "TRL", "model.dtype", "bfloat16"},
});

}  // namespace

std::span<const PeerKey> peer_keys() { return kKeys; }

const PeerKey* find_peer_key(std::string_view theirs) {
  const auto it = std::find_if(kKeys.begin(), kKeys.end(), [&](const PeerKey& k) { return k.theirs == theirs; });
  return it == kKeys.end() ? nullptr : &*it;
}

std::string peer_key_text(const PeerKey& key) {
  const std::string here = key.ours.empty() ? "; there is no such setting here" : message("; here it is ", key.ours);
  return message(key.theirs, " is ", key.toolkit, "'s name", here, key.note.empty() ? "" : message(" (", key.note, ")"));
}

}  // namespace r1
