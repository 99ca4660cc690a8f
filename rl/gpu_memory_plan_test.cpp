// The plan of a GPU's memory: what it chooses, what it refuses.
#include "rl/gpu_memory_plan.h"

#include <doctest/doctest.h>

#include "core/error.h"

namespace r1 {
namespace {

constexpr std::size_t kGb = std::size_t{1} << 30;

GpuMemoryWishes wishes() {
  GpuMemoryWishes w;
  w.total = 80 * kGb, w.free = 78 * kGb;
  w.weights = kGb, w.optimizer = 8 * kGb;
  w.training = [](std::int64_t rows, bool recompute) { return static_cast<std::size_t>(rows) * (recompute ? 200'000u : 1'000'000u); };
  w.longest_sample = 700;
  w.kv_bytes_per_token = 12288;
  return w;
}

}  // namespace

TEST_CASE("the GPU's memory is planned whole, micro-batches by what is shared") {
  GpuMemoryPlan plan = plan_gpu_memory(wishes());
  CHECK(plan.tokens_per_micro_batch == kMaxGpuMicroBatch);
  CHECK_FALSE(plan.recompute);
  CHECK(plan.shared + 9 * kGb <= static_cast<std::size_t>(0.9 * 78 * kGb));
  CHECK(plan.shared + 9 * kGb + 256 > static_cast<std::size_t>(0.9 * 78 * kGb));
  CHECK(plan.used == 2 * kGb + 9 * kGb + plan.shared);
  CHECK(plan.lines.back().find("planned peak") == 0);

  GpuMemoryWishes w = wishes();
  w.free = 24 * kGb;
  plan = plan_gpu_memory(w);  // 12.6 GiB for learning
  CHECK(plan.tokens_per_micro_batch == 13312);
  CHECK(wishes().training(plan.tokens_per_micro_batch, false) <= plan.shared);
  w.free = 16 * kGb;  // 5.4 GiB: few rows would fit, so layers are computed twice
  plan = plan_gpu_memory(w);
  CHECK(plan.recompute);
  CHECK(plan.tokens_per_micro_batch > 8192);
  w.recompute = false;
  plan = plan_gpu_memory(w);
  CHECK_FALSE(plan.recompute);
  CHECK(plan.tokens_per_micro_batch == 5120);
  w.recompute.reset();
  w.tokens_per_micro_batch = 4000;
  plan = plan_gpu_memory(w);
  CHECK(plan.tokens_per_micro_batch == 4000);
  CHECK_FALSE(plan.recompute);
}

TEST_CASE("what cannot fit on the GPU is refused with the numbers and the remedy") {
  GpuMemoryWishes w = wishes();
  w.free = 9 * kGb;
  CHECK_THROWS_WITH_AS(plan_gpu_memory(w), doctest::Contains("gpu_memory_share"), ConfigError);
  w = wishes();
  w.longest_sample = 1'000'000;
  CHECK_THROWS_WITH_AS(plan_gpu_memory(w), doctest::Contains("rollout.max_new_tokens"), ConfigError);
  w = wishes();
  w.training = nullptr, w.optimizer = 0;  // sampling alone
  CHECK(plan_gpu_memory(w).tokens_per_micro_batch == 0);
}

}  // namespace r1
