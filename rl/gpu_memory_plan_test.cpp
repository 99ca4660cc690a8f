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
  w.weights = kGb, w.trained = std::int64_t{1} << 29;  // 8 GiB in float32
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

TEST_CASE("the optimizer's state is packed as far as the memory asks for it, and no further") {
  using M = MasterFormat;
  using V = MomentFormat;
  using G = GradientFormat;
  const auto plan_for = [](double free_gb, OptimizerWishes formats = {}) {
    GpuMemoryWishes w = wishes();
    w.free = static_cast<std::size_t>(free_gb * kGb), w.share = 1, w.formats = formats;
    return plan_gpu_memory(w);
  };
  // 1 GiB of weights, 2048 rows computed twice 0.38 GiB, and the state: 8, 7, 4 or 3 GiB.
  CHECK(plan_for(9.4).format == OptimizerFormat{});
  CHECK(plan_for(9.3).format == OptimizerFormat{M::kSplit, V::kFloat32, G::kFloat32});
  CHECK(plan_for(9.3).optimizer == 7 * kGb);
  CHECK(plan_for(8.3).format == OptimizerFormat{M::kSplit, V::k8Bit, G::kFloat32});
  CHECK(plan_for(5.3).format == OptimizerFormat{M::kSplit, V::k8Bit, G::kBFloat16});
  // What is asked for holds, and the others follow.
  CHECK(plan_for(70, {std::nullopt, std::nullopt, G::kBFloat16}).format == OptimizerFormat{M::kFloat32, V::kFloat32, G::kBFloat16});
  CHECK(plan_for(8.3, {std::nullopt, V::kFloat32, std::nullopt}).format == OptimizerFormat{M::kSplit, V::kFloat32, G::kBFloat16});
  CHECK(plan_for(9.4).lines[1] == "optimizer: master float32, moments float32, gradients float32");
  CHECK(plan_for(9.3).lines[1] == "optimizer: master split, moments float32, gradients float32 (float32 throughout: 8.0 GiB); chosen by what fits");
  CHECK(plan_for(70, {M::kSplit, {}, {}}).lines[1].ends_with("(float32 throughout: 8.0 GiB)"));
}

TEST_CASE("7 billion parameters are trained whole on a card of 80 GB") {
  // Qwen2.5-7B: 7,615,616,512 parameters in 339 tensors.
  GpuMemoryWishes w;
  w.total = 80 * kGb, w.free = w.total - kGb / 2;
  w.trained = 7'615'616'512, w.tensors = 339, w.weights = static_cast<std::size_t>(w.trained) * 2;
  // About what a row takes there with layers computed twice: 28 inputs of 3584 float32, one layer's scratch; and logits.
  w.training = [](std::int64_t rows, bool recompute) { return static_cast<std::size_t>(rows) * (recompute ? 900'000u : 3'900'000u) + 2 * kGb; };
  w.longest_sample = 128 + 256, w.kv_bytes_per_token = 57344;
  const GpuMemoryPlan plan = plan_gpu_memory(w);
  CHECK(plan.format == OptimizerFormat{MasterFormat::kSplit, MomentFormat::k8Bit, GradientFormat::kBFloat16});
  CHECK(plan.optimizer + w.weights == doctest::Approx(61.0e9).epsilon(0.001));
  CHECK(plan.recompute);
  CHECK(plan.tokens_per_micro_batch >= 8192);
  CHECK(plan.used <= w.total);
  w.total = w.free = 140 * kGb;  // a larger card needs to give up less
  CHECK(plan_gpu_memory(w).format == OptimizerFormat{MasterFormat::kSplit, MomentFormat::kFloat32, GradientFormat::kFloat32});
}

TEST_CASE("what cannot fit on the GPU is refused with the numbers and the remedy") {
  GpuMemoryWishes w = wishes();
  w.free = 9 * kGb;
  w.formats = {MasterFormat::kFloat32, MomentFormat::kFloat32, GradientFormat::kFloat32};
  CHECK_THROWS_WITH_AS(plan_gpu_memory(w), doctest::Contains("gpu_memory_share"), ConfigError);
  CHECK_THROWS_WITH_AS(plan_gpu_memory(w), doctest::Contains("train.moments and train.gradients to auto"), ConfigError);
  w.formats = {};
  w.free = 4 * kGb;  // 3.6 GiB, of which weights and the smallest state take 4
  CHECK_THROWS_WITH_AS(plan_gpu_memory(w), doctest::Contains("use a smaller model"), ConfigError);
  w = wishes();
  w.longest_sample = 1'000'000;
  CHECK_THROWS_WITH_AS(plan_gpu_memory(w), doctest::Contains("rollout.max_new_tokens"), ConfigError);
  w = wishes();
  w.training = nullptr, w.trained = 0;  // sampling alone
  CHECK(plan_gpu_memory(w).tokens_per_micro_batch == 0);
}

TEST_CASE("a critic and a teacher are counted; the teacher's pass has memory of its own") {
  const GpuMemoryPlan alone = plan_gpu_memory(wishes());
  GpuMemoryWishes w = wishes();
  w.critic = 3 * kGb;
  GpuMemoryPlan plan = plan_gpu_memory(w);
  CHECK(alone.shared - plan.shared == 3 * kGb);
  CHECK(plan.used == alone.used);
  CHECK(plan.lines.front().find("critic") != std::string::npos);
  w = wishes();
  w.teacher = 10 * kGb;
  w.beside = [](std::int64_t rows) { return static_cast<std::size_t>(rows) * 300'000u + 100; };
  plan = plan_gpu_memory(w);
  CHECK(plan.beside_rows == plan.tokens_per_micro_batch);
  CHECK(alone.shared - plan.shared - 10 * kGb == (w.beside(plan.beside_rows) + 255) / 256 * 256);
  CHECK(w.training(plan.tokens_per_micro_batch, plan.recompute) <= plan.shared);
  // Both fit into what there is: fewer rows than alone.
  w.free = 34 * kGb;
  plan = plan_gpu_memory(w);
  w.beside = nullptr;
  CHECK(plan.tokens_per_micro_batch < plan_gpu_memory(w).tokens_per_micro_batch);
  CHECK(w.training(plan.tokens_per_micro_batch, plan.recompute) <= plan.shared);
  // A budget of the recipe that is too large: the teacher gets what a sample needs, so that halving the budget helps.
  w.beside = [](std::int64_t rows) { return static_cast<std::size_t>(rows) * 300'000u; };
  w.tokens_per_micro_batch = 1'000'000;
  plan = plan_gpu_memory(w);
  CHECK(plan.beside_rows == w.longest_sample);
}

TEST_CASE("where nothing is sampled the plan does not speak of keys and values") {
  GpuMemoryWishes w = wishes();
  w.kv_bytes_per_token = 0;
  for (const std::string& line : plan_gpu_memory(w).lines) CHECK(line.find("keys") == std::string::npos);
}

TEST_CASE("weights on their way to or from another process lie beside the model") {
  GpuMemoryWishes w = wishes();
  const GpuMemoryPlan before = plan_gpu_memory(w);
  w.sent = kGb;
  const GpuMemoryPlan plan = plan_gpu_memory(w);
  CHECK(plan.shared == before.shared - kGb);
  CHECK(plan.lines.front().find("weights on their way 1") != std::string::npos);
}

TEST_CASE("a rollout beside the learner has weights and memory of its own; the learner has at most half, unless one sample needs more") {
  GpuMemoryWishes w = wishes();
  const GpuMemoryPlan in_turns = plan_gpu_memory(w);
  CHECK(in_turns.sampling == 0);
  w.rollout = kGb;
  GpuMemoryPlan plan = plan_gpu_memory(w);
  CHECK(plan.used == 2 * kGb + 10 * kGb + plan.shared + plan.sampling);
  CHECK(plan.used == in_turns.used);  // all that may be taken, one way or the other
  CHECK(plan.shared <= (plan.shared + plan.sampling) / 2);
  CHECK(plan.shared >= w.training(plan.tokens_per_micro_batch, plan.recompute));
  CHECK(plan.shared < w.training(plan.tokens_per_micro_batch, plan.recompute) + 256);  // what it does not use is the rollout's
  CHECK(plan.lines.front().find("the rollout's weights 1") != std::string::npos);
  CHECK(plan.lines.front().find("sampling beside it") != std::string::npos);

  w.tokens_per_micro_batch = 1024;
  plan = plan_gpu_memory(w);
  CHECK(plan.shared == 1'024'000'000);
  CHECK(plan.sampling > 55 * kGb);

  w = wishes(), w.rollout = kGb;
  w.formats = {MasterFormat::kFloat32, MomentFormat::kFloat32, GradientFormat::kFloat32};
  w.free = 20 * kGb;         // 8 GiB for both
  w.longest_sample = 30000;  // 6e9 bytes at the least: more than half
  plan = plan_gpu_memory(w);
  CHECK(plan.shared >= w.training(30000, true));
  CHECK(plan.sampling < plan.shared);
  w.longest_sample = 42800;  // 8.56e9 bytes: fits, and leaves nothing to sample in
  CHECK_THROWS_WITH_AS(plan_gpu_memory(w), doctest::Contains("set rl.max_staleness: 0"), ConfigError);
}

}  // namespace r1
