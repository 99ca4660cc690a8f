// The GPU's transformer against the CPU's: log-probabilities, gradients; equal bits for equal plans; weights in and out.
#include <algorithm>
#include <cmath>

#include "model/gpu/gpu_model_test_support.h"

namespace r1 {

using namespace gpu_model_test;

TEST_CASE("random weights are the CPU's, and go out as they came in") {
  R1_NEEDS_GPU();
  const ModelConfig c = small_config("qwen2");
  WeightStore host(c, DType::kBF16);
  init_random(host, 7, 0.02f);
  GpuTransformer model(c);
  model.weights().init_random(7, 0.02f);
  const WeightSnapshot snapshot = model.weights().host_snapshot(3);
  for (const TensorView& t : snapshot.tensors)
    CHECK(std::memcmp(t.data, host.at(host.find(t.name)), t.bytes()) == 0);
  const WeightDigest before = model.weights().digest();
  model.weights().load(host.snapshot(0));
  CHECK(model.weights().digest() == before);
  float changed = 1.f;
  host.set({"model.norm.weight", DType::kF32, {128}, reinterpret_cast<const std::byte*>(std::vector<float>(128, changed + 1).data()), -1});
  model.weights().load(host.snapshot(0));
  CHECK(model.weights().digest() != before);
}

TEST_CASE("log-probabilities and gradients are the CPU's within bfloat16") {
  R1_NEEDS_GPU();
  for (const char* type : {"llama", "qwen2", "qwen3"}) {
    Pair m(type);
    GpuTraining training(m.gpu, m.region);
    const PackedBatch batch = make_batch(503, 5);
    const LogprobRows want = m.exact.forward(batch, 0.9f, true, false), cpu = m.cpu.forward(batch, 0.9f, true, false);
    std::vector<float> d = gpu::test::floats(static_cast<std::int64_t>(batch.targets.size()), 6, 1e-3f), d_entropy = gpu::test::floats(static_cast<std::int64_t>(d.size()), 7, 1e-3f);
    for (const bool entropies : {false, true}) {
      const std::span<const float> dh = entropies ? std::span<const float>(d_entropy) : std::span<const float>{};
      std::vector<float> exact_gradient(static_cast<std::size_t>(m.exact.weights().elements()), 0.f), cpu_gradient = exact_gradient;
      m.exact.forward(batch, 0.9f, true, false);
      m.exact.backward(d, dh, exact_gradient);
      m.cpu.forward(batch, 0.9f, true, false);
      m.cpu.backward(d, dh, cpu_gradient);
      std::vector<std::vector<float>> gradients;
      for (const bool recompute : {false, true, false}) {
        const LogprobRows got = training.forward(batch, 0.9f, true, recompute);
        double worst = 0, worst_cpu = 0, worst_entropy = 0;
        for (std::size_t i = 0; i < got.logprobs.size(); ++i) {
          worst = std::max(worst, std::abs(double{got.logprobs[i]} - want.logprobs[i]));
          worst_cpu = std::max(worst_cpu, std::abs(double{cpu.logprobs[i]} - want.logprobs[i]));
          worst_entropy = std::max(worst_entropy, std::abs(double{got.entropies[i]} - want.entropies[i]));
        }
        INFO(type, ": log-probabilities differ by ", worst, " (CPU bfloat16: ", worst_cpu, "), entropies by ", worst_entropy);
        CHECK(worst < 2 * worst_cpu + 1e-3);
        CHECK(worst_entropy < 2 * worst_cpu + 1e-3);
        const gpu::DeviceMemory grad(exact_gradient.size() * 4);
        gpu::fill_bytes(m.gpu.stream(), grad.data(), 0, grad.bytes());
        training.backward(d, dh, grad.as<float>());
        gradients.emplace_back(exact_gradient.size());
        gpu::copy_to_host(m.gpu.stream(), gradients.back().data(), grad.data(), grad.bytes());
        m.gpu.synchronize();
      }
      CHECK(std::memcmp(gradients[0].data(), gradients[2].data(), gradients[0].size() * 4) == 0);
      CHECK(std::memcmp(gradients[0].data(), gradients[1].data(), gradients[0].size() * 4) == 0);
      for (const Parameter& p : m.gpu.weights().parameters()) {
        const auto part = [&](const std::vector<float>& g) { return std::span(g).subspan(static_cast<std::size_t>(p.offset), static_cast<std::size_t>(p.elements)); };
        const double error = relative_error(part(gradients[0]), part(exact_gradient)), cpu_error = relative_error(part(cpu_gradient), part(exact_gradient));
        INFO(type, " ", p.name, ": ", error, " (CPU bfloat16: ", cpu_error, ")", entropies ? ", entropies" : "");
        CHECK(error < 2 * cpu_error + 0.01);
      }
    }
  }
}

TEST_CASE("a token's log-probability does not depend on what is packed with it") {
  R1_NEEDS_GPU();
  Pair m("qwen2");
  GpuTraining training(m.gpu, m.region);
  const PackedBatch batch = make_batch(503, 5);
  const LogprobRows all = training.evaluate(batch, 1.f, true);
  const LogprobRows kept = training.forward(batch, 1.f, true, false);
  CHECK(std::memcmp(all.logprobs.data(), kept.logprobs.data(), all.logprobs.size() * 4) == 0);
  // Each answer alone, with a prompt of its own.
  std::size_t at = 0;
  for (std::size_t b = 0; b < batch.sequences.size(); ++b) {
    const auto& s = batch.sequences[b];
    PackedBatch one;
    std::vector<std::int32_t> rows;
    if (s.prefix_begin >= 0)
      for (std::int32_t r = s.prefix_begin; r < s.prefix_end; ++r) rows.push_back(r);
    for (std::int32_t r = s.begin; r < s.end; ++r) rows.push_back(r);
    for (std::size_t i = 0; i < rows.size(); ++i) one.tokens.push_back(batch.tokens[static_cast<std::size_t>(rows[i])]), one.positions.push_back(static_cast<std::int32_t>(i));
    one.sequences.push_back({0, static_cast<std::int32_t>(rows.size()), -1, -1});
    const std::size_t first = at;
    while (at < batch.predictors.size()) {
      const std::int32_t row = batch.predictors[at];
      const bool mine = (row >= s.begin && row < s.end) || (s.prefix_begin >= 0 && row == s.prefix_end - 1 && (at == first));
      if (!mine) break;
      one.predictors.push_back(static_cast<std::int32_t>(std::find(rows.begin(), rows.end(), row) - rows.begin()));
      one.targets.push_back(batch.targets[at++]);
    }
    if (one.predictors.empty()) continue;
    const LogprobRows alone = training.evaluate(one, 1.f, true);
    CHECK(std::memcmp(alone.logprobs.data(), all.logprobs.data() + first, alone.logprobs.size() * 4) == 0);
    CHECK(std::memcmp(alone.entropies.data(), all.entropies.data() + first, alone.entropies.size() * 4) == 0);
  }
  CHECK(at == batch.predictors.size());
}

TEST_CASE("what does not fit is an error that the learner can act on") {
  R1_NEEDS_GPU();
  Pair m("llama");
  m.region.bytes = std::size_t{1} << 20;
  GpuTraining training(m.gpu, m.region);
  CHECK_THROWS_AS(training.forward(make_batch(503, 5), 1.f, false, false), GpuOutOfMemory);
}

}  // namespace r1
