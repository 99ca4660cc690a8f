// The GPU's transformer against the CPU's: log-probabilities, gradients; equal bits for equal plans; weights in and out.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/compute_pool.h"
#include "kernels/gpu/test_support.h"
#include "model/gpu/gpu_training.h"
#include "model/transformer.h"

namespace r1 {
namespace {

using gpu::test::Random;

ModelConfig small_config(const std::string& type) {
  ModelConfig c;
  c.model_type = type;
  c.hidden_size = 128, c.num_hidden_layers = 3, c.num_attention_heads = 4, c.num_key_value_heads = 2, c.head_dim = 64;
  c.intermediate_size = 256, c.vocab_size = 503, c.max_position_embeddings = 1024;
  c.rms_norm_eps = 1e-5f;
  c.tie_word_embeddings = type != "llama";
  c.qkv_bias = type == "qwen2";
  c.qk_norm = type == "qwen3";
  return c;
}

// Groups with shared prompts, a lone sequence; predictors as the learner makes them: several answers start at one prompt row.
PackedBatch make_batch(std::int64_t vocab, std::uint64_t seed) {
  PackedBatch b;
  Random random(seed);
  const auto add = [&](std::int32_t rows, std::int32_t from, std::int32_t to) {
    const auto begin = static_cast<std::int32_t>(b.tokens.size());
    for (std::int32_t i = 0; i < rows; ++i) {
      b.tokens.push_back(random.below(vocab));
      b.positions.push_back((from < 0 ? 0 : to - from) + i);
    }
    b.sequences.push_back({begin, begin + rows, from, to});
    const auto predict = [&](std::int32_t row) { b.predictors.push_back(row), b.targets.push_back(random.below(vocab)); };
    if (from >= 0) predict(to - 1);
    if (from >= 0 || rows > 90)
      for (std::int32_t i = 0; i < rows; ++i) predict(begin + i);
    return begin;
  };
  add(70, -1, -1);
  for (const std::int32_t n : {9, 100, 33}) add(n, 0, 70);
  add(100, -1, -1);
  return b;
}

void give_weights(WeightStore& store, std::uint64_t seed) {
  init_random(store, seed, 0.08f);
  // Norms and biases away from 1 and 0.
  for (const Parameter& p : store.parameters()) {
    if (!p.name.ends_with("norm.weight") && !p.name.ends_with(".bias")) continue;
    std::vector<float> values = gpu::test::floats(p.elements, seed + static_cast<std::uint64_t>(p.offset), 0.2f, p.name.ends_with(".bias") ? 0.f : 1.f);
    store.set({p.name, DType::kF32, p.shape, reinterpret_cast<const std::byte*>(values.data()), -1});
  }
}

struct Pair {
  ComputePool pool{2};
  Transformer cpu;       // bfloat16
  Transformer exact;     // float32 arithmetic on the same rounded weights
  GpuTransformer gpu;
  gpu::DeviceMemory memory{std::size_t{256} << 20};
  GpuRegion region{memory};
  explicit Pair(const std::string& type) : cpu(small_config(type), DType::kBF16, pool), exact(small_config(type), DType::kF32, pool), gpu(small_config(type)) {
    give_weights(cpu.weights(), 11);
    cpu.weights_changed();
    exact.weights().load(cpu.weights().snapshot(0));
    exact.weights_changed();
    gpu.weights().load(cpu.weights().snapshot(0));
  }
};

double relative_error(std::span<const float> got, std::span<const float> want) {
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    error += (double{got[i]} - want[i]) * (double{got[i]} - want[i]);
    norm += double{want[i]} * want[i];
  }
  return std::isfinite(error) ? std::sqrt(error / norm) : INFINITY;
}

}  // namespace

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
