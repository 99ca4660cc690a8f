// GpuValue against TransformerValue: scores, gradients, training, resume; the scorer that is only asked.
#include "rl/gpu_value.h"

#include <cmath>
#include <memory>

#include "model/gpu/gpu_model_test_support.h"
#include "rl/optimizer.h"

namespace r1 {
namespace {

using namespace gpu_model_test;

constexpr std::int64_t kIds = 503;

TransformerValue::Options random_head(bool bias, bool recompute = false) {
  TransformerValue::Options o;
  o.head_std = 0.1, o.seed = 4, o.bias = bias, o.recompute = recompute;
  return o;
}

struct Values {
  Pair m{"qwen2"};
  TransformerValue exact, cpu;
  GpuValue gpu;
  explicit Values(const TransformerValue::Options& o, OptimizerFormat format = {}) : exact(m.exact, o), cpu(m.cpu, o), gpu(m.gpu, m.region, o, format) {}
};

double distance(const std::vector<float>& a, const std::vector<float>& b) { return relative_error(a, b); }

}  // namespace

TEST_CASE("a value model on the GPU: scores, gradients and one step are the CPU's within bfloat16") {
  R1_NEEDS_GPU();
  const PackedBatch batch = make_batch(kIds, 5);
  const std::vector<std::int32_t>& rows = batch.predictors;
  const std::vector<float> slopes = gpu::test::floats(static_cast<std::int64_t>(rows.size()), 9, 1e-2f);
  for (const bool bias : {false, true}) {
    Values v(random_head(bias));
    const auto run = [&](ValueModel& model) {
      std::vector<float> scores = model.forward(batch, rows);
      model.zero_gradient();
      model.backward(slopes);
      return scores;
    };
    const auto want = run(v.exact), near = run(v.cpu), got = run(v.gpu);
    double worst = 0, worst_cpu = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      worst = std::max(worst, std::abs(double{got[i]} - want[i]));
      worst_cpu = std::max(worst_cpu, std::abs(double{near[i]} - want[i]));
    }
    INFO("scores differ by ", worst, " (CPU bfloat16: ", worst_cpu, ")");
    CHECK(worst < 2 * worst_cpu + 1e-3);
    CHECK(gpu::test::same_bits(got, v.gpu.evaluate(batch, rows)));
    const std::vector<float> exact = v.exact.gradient(), of_cpu = v.cpu.gradient(), of_gpu = v.gpu.gradient();
    REQUIRE(of_gpu.size() == exact.size());
    CHECK(of_gpu.size() == static_cast<std::size_t>(v.m.gpu.weights().elements()) + 128 + (bias ? 1 : 0));
    CHECK(distance(of_gpu, exact) < 2 * distance(of_cpu, exact) + 0.01);
    if (bias) CHECK(of_gpu.back() == exact.back());
    double squares = 0;
    for (float g : of_gpu) squares += double{g} * g;
    CHECK(v.gpu.gradient_sum_of_squares() == doctest::Approx(squares).epsilon(1e-5));
    CHECK_FALSE(v.gpu.find_non_finite(ParameterPart::kGradient));
    CHECK_THROWS_AS(v.gpu.backward(slopes), Error);  // one backward a forward
    // A second pass adds.
    v.gpu.forward(batch, rows);
    v.gpu.backward(slopes);
    const std::vector<float> twice = v.gpu.gradient();
    double off = 0, norm = 0;
    for (std::size_t i = 0; i < twice.size(); ++i) off += std::pow(double{twice[i]} - 2.0 * of_gpu[i], 2), norm += std::pow(double{twice[i]}, 2);
    CHECK(std::sqrt(off / norm) < 1e-5);
  }
}

TEST_CASE("a value model on the GPU fits targets by regression, and resumes bit for bit") {
  R1_NEEDS_GPU();
  const PackedBatch batch = make_batch(kIds, 5);
  std::vector<std::int32_t> rows;  // each once, so that every target can be met
  for (std::int32_t r = 0; r < static_cast<std::int32_t>(batch.tokens.size()); r += 7) rows.push_back(r);
  const std::vector<float> targets = gpu::test::floats(static_cast<std::int64_t>(rows.size()), 3);
  OptimizerOptions options;
  options.learning_rate.peak = 2e-3;
  const auto train = [&](ValueModel& model, Optimizer& optimizer, int updates) {
    double loss = 0;
    for (int u = 0; u < updates; ++u) {
      model.zero_gradient();
      std::vector<float> d = model.forward(batch, rows);
      loss = 0;
      for (std::size_t i = 0; i < d.size(); ++i) d[i] -= targets[i], loss += 0.5 * d[i] * d[i];
      model.backward(d);
      optimizer.step(model);
    }
    return loss;
  };
  const OptimizerFormat packed{MasterFormat::kSplit, MomentFormat::k8Bit, GradientFormat::kBFloat16};
  for (const OptimizerFormat& format : {OptimizerFormat{}, packed}) {
    Values v(random_head(true, true), format), copy(random_head(true, true), format);
    Optimizer optimizer(options), other(options);
    const double first = train(v.gpu, optimizer, 1);
    train(v.gpu, optimizer, 9);
    copy.gpu.load(v.gpu.weights(0));
    copy.gpu.restore_optimizer_state(v.gpu.optimizer_state());
    other.set_updates(optimizer.updates());
    CHECK(copy.gpu.digest() == v.gpu.digest());
    CHECK(gpu::test::same_bits(copy.gpu.evaluate(batch, rows), v.gpu.evaluate(batch, rows)));
    const double last = train(v.gpu, optimizer, 30);
    CHECK(train(copy.gpu, other, 30) == last);
    CHECK(copy.gpu.digest() == v.gpu.digest());
    INFO("loss ", first, " -> ", last);
    CHECK(last < 0.25 * first);
  }
}

TEST_CASE("a frozen scorer gives the trained model's bits; weights that are no scorer's are refused") {
  R1_NEEDS_GPU();
  const PackedBatch batch = make_batch(kIds, 5);
  Values v(random_head(false));
  const WeightSnapshot saved = v.gpu.weights(0);
  CHECK(saved.tensors.back().name == "score.weight");
  const WeightDigest before = v.gpu.digest();
  CHECK_THROWS_WITH_AS(v.gpu.load(v.m.cpu.weights().snapshot(0)), doctest::Contains("score.weight"), CheckpointError);
  CHECK(v.gpu.digest() == before);
  GpuScorer scorer(v.m.gpu.config(), static_cast<std::int64_t>(batch.tokens.size()));
  WeightSnapshot backbone = saved;
  backbone.tensors.pop_back();
  scorer.model().weights().load(backbone);
  scorer.set_head({reinterpret_cast<const float*>(saved.tensors.back().data), 128});
  CHECK(gpu::test::same_bits(scorer.evaluate(batch, batch.predictors), v.gpu.evaluate(batch, batch.predictors)));
}

}  // namespace r1
