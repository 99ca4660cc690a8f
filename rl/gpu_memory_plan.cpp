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

std::int64_t most_rows(const GpuMemoryWishes& w, std::size_t shared, bool recompute) {
  std::int64_t rows = 0;
  while (rows < kMaxGpuMicroBatch && w.training(rows + kStep, recompute) <= shared) rows += kStep;
  return rows;
}

}  // namespace

GpuMemoryPlan plan_gpu_memory(const GpuMemoryWishes& w) {
  const auto may = static_cast<std::size_t>(static_cast<double>(w.free) * w.share);
  GpuMemoryPlan plan;
  std::string state;
  if (w.trained > 0) {
    // What must be left for it: to learn from a sample, or a few rows.
    const std::int64_t rows = std::max({w.longest_sample, std::int64_t{1}, std::min(kFewRows, w.tokens_per_micro_batch.value_or(kFewRows))});
    const std::size_t others = w.weights + w.reference + std::max(kLeast, w.training ? w.training(rows, w.recompute.value_or(true)) : 0);
    plan.format = choose_optimizer_format(w.formats, w.trained, w.tensors, may > others ? may - others : 0);
    plan.optimizer = plan.format.bytes(w.trained, w.tensors);
    state = message(w.formats.gradient_only ? ", gradient " : ", master, gradient and moments ", bytes(plan.optimizer));
  }
  const std::size_t fixed = w.weights + plan.optimizer + w.reference;
  const std::size_t least = choose_optimizer_format({.gradient_only = w.formats.gradient_only}, w.trained, w.tensors, 0).bytes(w.trained, w.tensors);
  const bool smaller = w.trained > 0 && least < plan.optimizer;
  if (fixed + kLeast > may)
    throw ConfigError(message("the GPU has ", bytes(w.free), " free, of which rollout.gpu_memory_share ", w.share, " allows ", bytes(may), "; weights take ",
                              bytes(w.weights), state,
                              w.reference ? message(", the reference model ", bytes(w.reference)) : "",
                              "; ", smaller ? message("leave train.master, train.moments and train.gradients to auto (as little as ", bytes(least), "), ") : "",
                              "use a smaller model, a larger GPU, or end other programs on this one"));
  plan.shared = (may - fixed) / 256 * 256;
  plan.used = w.total - w.free + fixed + plan.shared;
  std::string learns;
  if (w.training) {
    const std::int64_t least = std::max<std::int64_t>(w.longest_sample, 1);
    if (w.tokens_per_micro_batch) {
      plan.tokens_per_micro_batch = *w.tokens_per_micro_batch;
      plan.recompute = w.recompute.value_or(w.training(std::max(least, plan.tokens_per_micro_batch), false) > plan.shared);
    } else {
      const std::int64_t kept = w.recompute.value_or(false) ? 0 : most_rows(w, plan.shared, false);
      const bool keep = w.recompute ? !*w.recompute : kept >= std::max(kGoodRows, least);
      plan.recompute = !keep;
      plan.tokens_per_micro_batch = std::max(keep ? kept : most_rows(w, plan.shared, true), kStep);
    }
    const std::size_t needs = w.training(std::max(least, plan.tokens_per_micro_batch), plan.recompute);
    // A budget that the recipe sets may be halved later; a sample alone cannot.
    if (const std::size_t one = w.training(least, plan.recompute); one > plan.shared)
      throw ConfigError(message("one sample of ", least, " tokens takes ", bytes(one), " to learn from, the GPU has ", bytes(plan.shared), " for it; ",
                                plan.recompute ? "" : "set train.recompute: true, or ", "lower rollout.max_new_tokens or data.max_prompt_tokens"));
    learns = message("learning: micro-batches of ", with_commas(plan.tokens_per_micro_batch), " tokens take ", bytes(needs),
                     plan.recompute ? ", layers computed twice" : "");
  }
  const std::size_t kv = w.max_kv_bytes > 0 ? std::min(plan.shared, static_cast<std::size_t>(w.max_kv_bytes)) : plan.shared;
  plan.lines.push_back(message(bytes(w.free), " of ", bytes(w.total), " free; weights ", bytes(w.weights),
                               state, w.reference ? message(", reference ", bytes(w.reference)) : "", ", shared ", bytes(plan.shared), ", left alone ", bytes(w.free - may)));
  if (w.trained > 0) {
    const std::size_t whole = OptimizerFormat{.gradient_only = w.formats.gradient_only}.bytes(w.trained, w.tensors);
    const bool automatic = plan.format != choose_optimizer_format(w.formats, w.trained, w.tensors, SIZE_MAX);
    plan.lines.push_back(message("optimizer: ", to_string(plan.format), plan.format.is_float32() ? "" : message(" (float32 throughout: ", bytes(whole), ")"),
                                 automatic ? "; chosen by what fits" : ""));
  }
  plan.lines.push_back(message("shared by sampling: at most ", with_commas(static_cast<std::int64_t>(kv / std::max<std::size_t>(w.kv_bytes_per_token, 1))),
                               " tokens of keys and values", learns.empty() ? "" : "; and " + learns));
  plan.lines.push_back(message("planned peak ", bytes(plan.used)));
  return plan;
}

}  // namespace r1
