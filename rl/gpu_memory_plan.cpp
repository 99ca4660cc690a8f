#include "rl/gpu_memory_plan.h"

#include <algorithm>

#include "core/error.h"
#include "core/format.h"

namespace r1 {

namespace {

constexpr std::int64_t kStep = 1024;      // rows that budgets are multiples of
constexpr std::int64_t kGoodRows = 8192;  // below it small products cost more than computing layers twice does
constexpr std::size_t kLeast = std::size_t{64} << 20;

std::string bytes(std::size_t n) { return human_bytes(static_cast<std::uint64_t>(n)); }

std::size_t beside(const GpuMemoryWishes& w, std::int64_t rows) { return w.beside ? (w.beside(rows) + 255) / 256 * 256 : 0; }
std::size_t pass(const GpuMemoryWishes& w, std::int64_t rows, bool recompute) { return w.training(rows, recompute) + beside(w, rows); }

std::int64_t most_rows(const GpuMemoryWishes& w, std::size_t shared, bool recompute) {
  std::int64_t rows = 0;
  while (rows < kMaxGpuMicroBatch && pass(w, rows + kStep, recompute) <= shared) rows += kStep;
  return rows;
}

}  // namespace

GpuMemoryPlan plan_gpu_memory(const GpuMemoryWishes& w) {
  const auto may = static_cast<std::size_t>(static_cast<double>(w.free) * w.share);
  GpuMemoryPlan plan;
  std::string state, others_text;
  const std::size_t models = w.reference + w.critic + w.teacher + w.lora + w.rollout + w.sent;
  for (const auto& [name, size] : {std::pair{", the rollout's weights ", w.rollout}, {", the reference model ", w.reference}, {", the critic's model ", w.critic},
                                   {", the teacher ", w.teacher}, {", LoRA pairs and their base ", w.lora}, {", weights on their way ", w.sent}})
    if (size > 0) others_text += name + bytes(size);
  if (w.trained > 0) {
    // What must be left for it: to learn from a sample, or a few rows.
    const std::int64_t rows = std::max({w.longest_sample, std::int64_t{1}, std::min(kFewRows, w.tokens_per_micro_batch.value_or(kFewRows))});
    const std::size_t learns = std::max(kLeast, w.training ? pass(w, rows, w.recompute.value_or(true)) : 0);
    const std::size_t others = w.weights + models + learns * (w.rollout > 0 ? 2 : 1);
    plan.format = choose_optimizer_format(w.formats, w.trained, w.tensors, may > others ? may - others : 0, w.own);
    plan.optimizer = plan.format.bytes(w.trained, w.tensors, w.own);
    state = message(w.formats.gradient_only ? ", gradient " : ", master, gradient and moments ", bytes(plan.optimizer));
  }
  const std::size_t fixed = w.weights + plan.optimizer + models;
  const std::size_t least = choose_optimizer_format({.gradient_only = w.formats.gradient_only}, w.trained, w.tensors, 0, w.own).bytes(w.trained, w.tensors, w.own);
  const bool smaller = w.trained > 0 && least < plan.optimizer;
  if (fixed + kLeast > may)
    throw ConfigError(message("the GPU has ", bytes(w.free), " free, of which rollout.gpu_memory_share ", w.share, " allows ", bytes(may), "; weights take ",
                              bytes(w.weights), state, others_text,
                              "; ", smaller ? message("leave train.master, train.moments and train.gradients to auto (as little as ", bytes(least), "), ") : "",
                              "use a smaller model, a larger GPU, or end other programs on this one"));
  plan.shared = (may - fixed) / 256 * 256;
  plan.used = w.total - w.free + fixed + plan.shared;
  const std::size_t all = plan.shared;
  // Side by side, the learner has half at most, unless one sample needs more.
  if (w.rollout > 0 && w.training) {
    const std::size_t one = pass(w, std::max<std::int64_t>(w.longest_sample, 1), w.recompute.value_or(true));
    plan.shared = std::min(all, std::max(all / 2, one)) / 256 * 256;
  }
  std::string learns;
  if (w.training) {
    const std::int64_t least = std::max<std::int64_t>(w.longest_sample, 1);
    if (w.tokens_per_micro_batch) {
      plan.tokens_per_micro_batch = *w.tokens_per_micro_batch;
      plan.recompute = w.recompute.value_or(pass(w, std::max(least, plan.tokens_per_micro_batch), false) > plan.shared);
    } else {
      const std::int64_t kept = w.recompute.value_or(false) ? 0 : most_rows(w, plan.shared, false);
      const bool keep = w.recompute ? !*w.recompute : kept >= std::max(kGoodRows, least);
      plan.recompute = !keep;
      plan.tokens_per_micro_batch = std::max(keep ? kept : most_rows(w, plan.shared, true), kStep);
    }
    const std::size_t needs = w.training(std::max(least, plan.tokens_per_micro_batch), plan.recompute);
    // A budget that the recipe sets may be halved later; a sample alone cannot.
    if (const std::size_t one = pass(w, least, plan.recompute); one > plan.shared)
      throw ConfigError(message("one sample of ", least, " tokens takes ", bytes(one), " to learn from, the GPU has ", bytes(plan.shared), " for it; ",
                                plan.recompute ? "" : "set train.recompute: true, or ", "lower rollout.max_new_tokens or data.max_prompt_tokens"));
    learns = message("learning: micro-batches of ", with_commas(plan.tokens_per_micro_batch), " tokens take ", bytes(needs),
                     plan.recompute ? ", layers computed twice" : "");
    if (w.beside) {
      // A budget too large for both is halved later, down to a sample alone.
      const std::int64_t rows = std::max(least, plan.tokens_per_micro_batch);
      plan.beside_rows = pass(w, rows, plan.recompute) <= plan.shared ? rows : least;
      plan.shared -= beside(w, plan.beside_rows);
      learns += message(", the teacher's pass beside them ", bytes(beside(w, plan.beside_rows)));
    }
  }
  if (w.rollout > 0) {
    // What the chosen micro-batch does not use is the rollout's.
    if (w.training)
      plan.shared = std::min(plan.shared, (w.training(std::max(std::max<std::int64_t>(w.longest_sample, 1), plan.tokens_per_micro_batch), plan.recompute) + 255) / 256 * 256);
    plan.sampling = (all - plan.shared - (w.beside ? beside(w, plan.beside_rows) : 0)) / 256 * 256;
    if (plan.sampling < kLeast)
      throw ConfigError(message("learning from a sample of ", w.longest_sample, " tokens leaves ", bytes(plan.sampling), " of the GPU for sampling beside it; set rl.max_staleness: 0 "
                                "(rollout and learning in turns share the memory), or lower rollout.max_new_tokens"));
  }
  const std::size_t keys = w.rollout > 0 ? plan.sampling : plan.shared;
  const std::size_t kv = w.max_kv_bytes > 0 ? std::min(keys, static_cast<std::size_t>(w.max_kv_bytes)) : keys;
  plan.lines.push_back(message(bytes(w.free), " of ", bytes(w.total), " free; weights ", bytes(w.weights),
                               state, others_text, w.rollout > 0 ? ", learning " : ", shared ", bytes(plan.shared),
                               w.rollout > 0 ? ", sampling beside it " + bytes(plan.sampling) : std::string(), ", left alone ", bytes(w.free - may)));
  if (w.trained > 0) {
    const std::size_t whole = OptimizerFormat{.gradient_only = w.formats.gradient_only}.bytes(w.trained, w.tensors, w.own);
    const bool automatic = plan.format != choose_optimizer_format(w.formats, w.trained, w.tensors, SIZE_MAX, w.own);
    plan.lines.push_back(message("optimizer: ", to_string(plan.format), plan.format.is_float32() ? "" : message(" (float32 throughout: ", bytes(whole), ")"),
                                 automatic ? "; chosen by what fits" : ""));
  }
  if (w.kv_bytes_per_token == 0) plan.lines.push_back(learns);
  else plan.lines.push_back(message(w.rollout > 0 ? "sampling: at most " : "shared by sampling: at most ", with_commas(static_cast<std::int64_t>(kv / w.kv_bytes_per_token)),
                               " tokens of keys and values", learns.empty() ? "" : "; and " + learns));
  plan.lines.push_back(message("planned peak ", bytes(plan.used)));
  return plan;
}

}  // namespace r1
