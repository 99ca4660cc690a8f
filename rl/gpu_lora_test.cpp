// LoRA on the GPU against LoRA on the CPU: gradients, steps, dropout's masks, checkpoints from one device to the other, reward models.
#include "rl/gpu_lora.h"

#include <cmath>
#include <memory>

#include "core/error.h"
#include "model/gpu/gpu_model_test_support.h"
#include "rl/gpu_policy.h"
#include "rl/gpu_value.h"
#include "rl/host_lora.h"

namespace r1 {
namespace {

using namespace gpu_model_test;

constexpr std::int64_t kIds = 503;

LoraAdapter adapter(const ModelConfig& config, double dropout = 0, std::vector<std::string> targets = {"all-linear"}) {
  LoraOptions o;
  o.rank = 5, o.alpha = 10, o.seed = 3, o.dropout = dropout, o.targets = std::move(targets);
  LoraAdapter out(config, o);
  // B away from 0: the pairs' effect and both gradients show.
  const auto values = gpu::test::floats(std::ssize(out.values()), 9, 0.02f);
  for (std::size_t i = 0; i < values.size(); ++i) out.values()[i] += values[i];
  return out;
}

struct Policies {
  Pair m{"qwen2"};
  std::unique_ptr<LoraPolicy> exact, cpu, gpu;
  explicit Policies(double dropout = 0, OptimizerFormat format = {}, std::vector<std::string> targets = {"all-linear"}) {
    const LoraAdapter a = adapter(m.cpu.config(), dropout, std::move(targets));
    exact = with_lora(m.exact, TransformerPolicy::Options{}, a);
    cpu = with_lora(m.cpu, TransformerPolicy::Options{}, a);
    format.gradient_only = true;
    auto inner = std::make_unique<GpuPolicy>(m.gpu, m.region, GpuPolicy::Options{false, MasterStart::kExact, format});
    auto state = std::make_unique<GpuLora>(m.gpu, inner->optimizer(), a);
    gpu = std::make_unique<LoraPolicy>(std::move(inner), std::move(state));
  }
};

// Two micro-batches; the mean log-probability before.
double gradient(PolicyModel& policy, std::uint64_t seed = 5) {
  policy.zero_gradient();
  double mean = 0;
  for (std::uint64_t part : {0, 1}) {
    const LogprobRows rows = policy.forward(make_batch(kIds, seed + part), 1.f, false);
    for (float l : rows.logprobs) mean += double{l} / static_cast<double>(rows.logprobs.size()) / 2;
    policy.backward(std::vector<float>(rows.logprobs.size(), -1.f / 200), {});
  }
  return mean;
}

void train(PolicyModel& policy, int from, int to, std::vector<double>* likelihood = nullptr) {
  for (int update = from; update <= to; ++update) {
    const double mean = gradient(policy);
    if (likelihood) likelihood->push_back(mean);
    AdamWStep step;
    step.learning_rate = 5e-3, step.weight_decay = 0.01, step.update = update, step.gradient_scale = 0.5;
    policy.adamw(step);
  }
}

}  // namespace

TEST_CASE("LoRA on the GPU: likelihoods, gradients and their norm are the CPU's within bfloat16") {
  R1_NEEDS_GPU();
  for (const double dropout : {0.0, 0.4})
    for (const bool half : {false, true}) {
      CAPTURE(dropout);
      CAPTURE(half);
      OptimizerFormat format;
      if (half) format.gradients = GradientFormat::kBFloat16;
      Policies p(dropout, format);
      CHECK(gpu::test::same_bits(p.gpu->gradient(), std::vector<float>(p.gpu->adapter().values().size())));
      const double want = gradient(*p.exact), near = gradient(*p.cpu), got = gradient(*p.gpu);
      CHECK(std::abs(got - want) < 2 * std::abs(near - want) + 5e-3);
      const std::vector<float> exact = p.exact->gradient(), of_cpu = p.cpu->gradient(), of_gpu = p.gpu->gradient();
      INFO("relative error of the gradient: ", relative_error(of_gpu, exact), ", CPU bfloat16 ", relative_error(of_cpu, exact));
      CHECK(relative_error(of_gpu, exact) < 2 * relative_error(of_cpu, exact) + 0.01);
      double squares = 0;
      for (float g : of_gpu) squares += double{g} * g;
      CHECK(p.gpu->gradient_sum_of_squares() == doctest::Approx(squares).epsilon(1e-9));
      CHECK_FALSE(p.gpu->find_non_finite(ParameterPart::kGradient));
      // Which inputs a micro-batch left out is the same draw on both.
      if (dropout > 0)
        for (std::size_t i = 0; i < exact.size(); ++i)
          if ((exact[i] == 0) != (of_gpu[i] == 0)) FAIL("element ", i, ": ", exact[i], " and ", of_gpu[i]);
    }
}

TEST_CASE("LoRA on the GPU learns as on the CPU, other matrices stay, a new adapter changes nothing") {
  R1_NEEDS_GPU();
  Policies p(0, {}, {"q_proj", "down_proj"});
  const WeightSnapshot before = p.m.gpu.weights().host_snapshot(0);
  std::vector<double> cpu, gpu;
  train(*p.cpu, 1, 12, &cpu), train(*p.gpu, 1, 12, &gpu);
  for (std::size_t i = 0; i < cpu.size(); ++i) CHECK(gpu[i] == doctest::Approx(cpu[i]).epsilon(0.02));
  CHECK(gpu.back() > gpu.front() + 0.3);
  const WeightSnapshot after = p.m.gpu.weights().host_snapshot(0);
  for (std::size_t i = 0; i < before.tensors.size(); ++i) {
    const TensorView &a = before.tensors[i], &b = after.tensors[i];
    const bool chosen = a.name.ends_with("q_proj.weight") || a.name.ends_with("down_proj.weight");
    CAPTURE(a.name);
    CHECK((std::memcmp(a.data, b.data, a.bytes()) == 0) != chosen);
  }
  CHECK(relative_error(p.gpu->adapter().values(), p.cpu->adapter().values()) < 0.1);

  Pair fresh("qwen2");
  const WeightDigest start = fresh.gpu.weights().digest();
  auto inner = std::make_unique<GpuPolicy>(fresh.gpu, fresh.region, GpuPolicy::Options{false, MasterStart::kExact, {.gradient_only = true}});
  auto state = std::make_unique<GpuLora>(fresh.gpu, inner->optimizer(), LoraAdapter(fresh.gpu.config(), LoraOptions{}));
  LoraPolicy policy(std::move(inner), std::move(state));
  CHECK(policy.digest() == start);
}

TEST_CASE("LoRA on the GPU resumes bit for bit, with dropout too, and takes the CPU's state") {
  R1_NEEDS_GPU();
  for (const double dropout : {0.0, 0.3}) {
    CAPTURE(dropout);
    Policies whole(dropout), first(dropout), second(dropout);
    train(*whole.gpu, 1, 6);
    train(*first.gpu, 1, 3);
    const WeightSnapshot state = first.gpu->optimizer_state();
    train(*second.gpu, 1, 1);  // something else to begin with
    second.gpu->restore_optimizer_state(state);
    CHECK(second.gpu->digest() == first.gpu->digest());
    train(*second.gpu, 4, 6);
    CHECK(second.gpu->digest() == whole.gpu->digest());
    CHECK(gpu::test::same_bits(std::vector<float>(second.gpu->adapter().values().begin(), second.gpu->adapter().values().end()),
                               std::vector<float>(whole.gpu->adapter().values().begin(), whole.gpu->adapter().values().end())));
    train(*first.cpu, 1, 2);
    const WeightSnapshot of_cpu = first.cpu->optimizer_state();
    second.gpu->restore_optimizer_state(of_cpu);
    CHECK(std::equal(first.cpu->adapter().values().begin(), first.cpu->adapter().values().end(), second.gpu->adapter().values().begin()));
    WeightSnapshot torn = state;
    std::erase_if(torn.tensors, [](const TensorView& t) { return t.name.starts_with("exp_avg.") && t.name.ends_with("q_proj.lora_A.weight"); });
    CHECK_THROWS_WITH_AS(second.gpu->restore_optimizer_state(torn), doctest::Contains("q_proj.lora_A"), CheckpointError);
  }
}

TEST_CASE("a reward model with LoRA on the GPU: pairs and head as on the CPU") {
  R1_NEEDS_GPU();
  Pair m("qwen2");
  TransformerValue::Options o;
  o.head_std = 0.1, o.seed = 4, o.recompute = false;
  const LoraAdapter a = adapter(m.cpu.config());
  const auto exact = with_lora(m.exact, o, a), cpu = with_lora(m.cpu, o, a);
  auto inner = std::make_unique<GpuValue>(m.gpu, m.region, o, OptimizerFormat{.gradient_only = true});
  auto state = std::make_unique<GpuLora>(m.gpu, inner->optimizer(), a);
  LoraValue gpu(std::move(inner), std::move(state));
  const PackedBatch batch = make_batch(kIds, 5);
  const std::vector<float> slopes = gpu::test::floats(std::ssize(batch.predictors), 9, 1e-2f);
  const auto run = [&](ValueModel& model) {
    model.zero_gradient();
    model.forward(batch, batch.predictors);
    model.backward(slopes);
    return model.gradient();
  };
  const auto want = run(*exact), near = run(*cpu), got = run(gpu);
  REQUIRE(got.size() == a.values().size() + 128);
  CHECK(relative_error(got, want) < 2 * relative_error(near, want) + 0.01);
  double squares = 0;
  for (float g : got) squares += double{g} * g;
  CHECK(gpu.gradient_sum_of_squares() == doctest::Approx(squares).epsilon(1e-6));
  const std::vector<float> head(gpu.head().begin(), gpu.head().end());
  AdamWStep step;
  step.learning_rate = 1e-3;
  gpu.adamw(step), cpu->adamw(step);
  CHECK(relative_error(gpu.head(), cpu->head()) < 0.02);
  CHECK_FALSE(gpu::test::same_bits(head, std::vector<float>(gpu.head().begin(), gpu.head().end())));
}

}  // namespace r1
