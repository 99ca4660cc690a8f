// Families beyond Llama's block on the GPU against the CPU: log-probabilities within bfloat16, routing replay, weights with buffers.
#include <algorithm>
#include <cmath>

#include "model/gpu/gpu_family_configs.h"
#include "model/gpu/gpu_model_test_support.h"

namespace r1 {

using namespace gpu_model_test;

TEST_CASE("families: log-probabilities are the CPU's within bfloat16, whatever is packed together") {
  R1_NEEDS_GPU();
  for (const std::string& family : gpu_test_families()) {
    Pair m(gpu_family_config(family));
    GpuTraining training(m.gpu, m.region);
    PackedBatch batch = make_batch(503, 5);
    // The experts are given: a score that rounding moved would send a row elsewhere, and the comparison is of the arithmetic.
    std::vector<std::uint16_t> experts;
    m.exact.evaluate_experts(batch, 0.9f, experts);
    batch.experts = experts;
    const LogprobRows want = m.exact.evaluate(batch, 0.9f, true), cpu = m.cpu.evaluate(batch, 0.9f, true), got = training.evaluate(batch, 0.9f, true);
    double worst = 0, worst_cpu = 0, worst_entropy = 0;
    for (std::size_t i = 0; i < got.logprobs.size(); ++i) {
      worst = std::max(worst, std::abs(double{got.logprobs[i]} - want.logprobs[i]));
      worst_cpu = std::max(worst_cpu, std::abs(double{cpu.logprobs[i]} - want.logprobs[i]));
      worst_entropy = std::max(worst_entropy, std::abs(double{got.entropies[i]} - want.entropies[i]));
    }
    MESSAGE(family, ": log-probabilities differ from float32's by ", worst, " (CPU bfloat16: ", worst_cpu, "), entropies by ", worst_entropy);
    CHECK(worst < 2 * worst_cpu + 1e-3);
    CHECK(worst_entropy < 2 * worst_cpu + 1e-3);
    CHECK(std::isfinite(worst));
    // The router's own choice: on the whole no further from float32's than the CPU's bfloat16, though single rows meet other experts; and one
    // sequence alone has the bits that it has among others.
    batch.experts.clear();
    const LogprobRows free = training.evaluate(batch, 0.9f, true), free_cpu = m.cpu.evaluate(batch, 0.9f, true);
    double mean = 0, mean_cpu = 0;
    for (std::size_t i = 0; i < free.logprobs.size(); ++i) {
      mean += std::abs(double{free.logprobs[i]} - want.logprobs[i]) / static_cast<double>(free.logprobs.size());
      mean_cpu += std::abs(double{free_cpu.logprobs[i]} - want.logprobs[i]) / static_cast<double>(free.logprobs.size());
    }
    MESSAGE(family, ": by the router's own choice ", mean, " on the mean (CPU bfloat16: ", mean_cpu, ")");
    CHECK(mean < 2 * mean_cpu + 1e-3);
    PackedBatch alone;
    const auto& last = batch.sequences.back();
    REQUIRE(last.prefix_begin < 0);
    alone.tokens.assign(batch.tokens.begin() + last.begin, batch.tokens.end()), alone.positions.assign(batch.positions.begin() + last.begin, batch.positions.end());
    alone.sequences.push_back({0, last.end - last.begin, -1, -1});
    std::size_t first = 0;
    while (batch.predictors[first] < last.begin) ++first;
    for (std::size_t i = first; i < batch.predictors.size(); ++i) alone.predictors.push_back(batch.predictors[i] - last.begin), alone.targets.push_back(batch.targets[i]);
    const LogprobRows single = training.evaluate(alone, 0.9f, true);
    CHECK(std::memcmp(single.logprobs.data(), free.logprobs.data() + first, single.logprobs.size() * 4) == 0);
    CHECK(std::memcmp(single.entropies.data(), free.entropies.data() + first, single.entropies.size() * 4) == 0);
  }
}

TEST_CASE("replayed experts are met: others give others, wrong ones are refused; the learner says that it does not know them") {
  R1_NEEDS_GPU();
  Pair m(gpu_family_config("qwen3_moe"));
  GpuTraining training(m.gpu, m.region);
  PackedBatch batch = make_batch(503, 5);
  std::vector<std::uint16_t> experts;
  m.cpu.evaluate_experts(batch, 1.f, experts);
  batch.experts = experts;
  const LogprobRows first = training.evaluate(batch, 1.f, false);
  const auto k = static_cast<std::size_t>(m.gpu.config().moe->experts_per_token);
  for (std::size_t i = 0; i < batch.experts.size(); i += k) std::reverse(batch.experts.begin() + static_cast<std::ptrdiff_t>(i), batch.experts.begin() + static_cast<std::ptrdiff_t>(i + k));
  CHECK(training.evaluate(batch, 1.f, false).logprobs == first.logprobs);
  std::uint16_t* last = batch.experts.data() + batch.experts.size() - k;
  for (std::uint16_t e = 0; e < m.gpu.config().moe->num_experts; ++e)
    if (std::find(last, last + k, e) == last + k) {
      last[0] = e;
      break;
    }
  CHECK(training.evaluate(batch, 1.f, false).logprobs.back() != first.logprobs.back());
  last[0] = last[1];
  CHECK_THROWS_AS(training.evaluate(batch, 1.f, false), Error);
  batch.experts.clear();
  CHECK_THROWS_AS(training.forward(batch, 1.f, false, false), ConfigError);
}

TEST_CASE("fused projections and YaRN train too: gradients of every parameter are the CPU's within bfloat16; a window's end is refused") {
  R1_NEEDS_GPU();
  for (const char* family : {"phi3", "yarn"}) {
    Pair m(gpu_family_config(family));
    GpuTraining training(m.gpu, m.region);
    const PackedBatch batch = make_batch(503, 5);
    const std::vector<float> d = gpu::test::floats(static_cast<std::int64_t>(batch.targets.size()), 6, 1e-3f);
    std::vector<float> exact(static_cast<std::size_t>(m.exact.weights().elements()), 0.f), rounded = exact, got = exact;
    m.exact.forward(batch, 0.9f, true, false);
    m.exact.backward(d, {}, exact);
    m.cpu.forward(batch, 0.9f, true, false);
    m.cpu.backward(d, {}, rounded);
    const gpu::DeviceMemory grad(exact.size() * 4);
    gpu::fill_bytes(m.gpu.stream(), grad.data(), 0, grad.bytes());
    training.forward(batch, 0.9f, true, false);
    training.backward(d, {}, grad.as<float>());
    gpu::copy_to_host(m.gpu.stream(), got.data(), grad.data(), grad.bytes());
    m.gpu.synchronize();
    for (const Parameter& p : m.gpu.weights().parameters()) {
      const auto part = [&](const std::vector<float>& g) { return std::span(g).subspan(static_cast<std::size_t>(p.offset), static_cast<std::size_t>(p.elements)); };
      const double error = relative_error(part(got), part(exact)), cpu_error = relative_error(part(rounded), part(exact));
      INFO(family, " ", p.name, ": ", error, " (CPU bfloat16: ", cpu_error, ")");
      CHECK(error < 2 * cpu_error + 0.01);
    }
  }
  GpuTransformer phi3(gpu_family_config("phi3"));
  phi3.ensure_rope(600);
  CHECK_THROWS_AS(phi3.ensure_rope(601), ConfigError);
}

TEST_CASE("correction biases travel with the weights and count in their digest") {
  R1_NEEDS_GPU();
  Pair m(gpu_family_config("sigmoid"));
  const WeightSnapshot host = m.gpu.weights().host_snapshot(2), want = m.cpu.weights().snapshot(0);
  REQUIRE(host.tensors.size() == want.tensors.size());
  for (std::size_t i = 0; i < want.tensors.size(); ++i) {
    CHECK(host.tensors[i].name == want.tensors[i].name);
    CHECK(host.tensors[i].dtype == want.tensors[i].dtype);
    CHECK(std::memcmp(host.tensors[i].data, want.tensors[i].data, want.tensors[i].bytes()) == 0);
  }
  GpuTransformer other(m.gpu.config());
  other.weights().load(m.gpu.weights().snapshot(0));
  const WeightDigest before = m.gpu.weights().digest();
  CHECK(other.weights().digest() == before);
  const Parameter& bias = m.cpu.weights().buffers().front();
  m.cpu.weights().buffer(bias)[3] += 0.25f;
  m.gpu.weights().load(m.cpu.weights().snapshot(0));
  CHECK(m.gpu.weights().digest() != before);
}

}  // namespace r1
