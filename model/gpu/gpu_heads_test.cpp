// Scores and whole distributions on the GPU against the CPU's: values, gradients, equal bits whatever is packed or computed twice.
#include <algorithm>
#include <cmath>

#include "kernels/gpu/divergence.h"
#include "model/gpu/gpu_model_test_support.h"

namespace r1 {
namespace {

using namespace gpu_model_test;

std::vector<float> fetch(const GpuTransformer& model, const float* data, std::size_t n) {
  std::vector<float> out(n);
  gpu::copy_to_host(model.stream(), out.data(), data, n * sizeof(float));
  model.synchronize();
  return out;
}

gpu::DeviceMemory zeros(const GpuTransformer& model, std::int64_t floats) {
  gpu::DeviceMemory memory(static_cast<std::size_t>(floats) * sizeof(float));
  gpu::fill_bytes(model.stream(), memory.data(), 0, memory.bytes());
  model.synchronize();
  return memory;
}

// Each parameter's gradient is as near to the exact one as twice the CPU's bfloat16 one, and 1 %.
void check_gradient(const Pair& m, const std::vector<float>& got, const std::vector<float>& exact, const std::vector<float>& cpu, const std::string& what) {
  for (const Parameter& p : m.gpu.weights().parameters()) {
    const auto part = [&](const std::vector<float>& g) { return std::span(g).subspan(static_cast<std::size_t>(p.offset), static_cast<std::size_t>(p.elements)); };
    double norm = 0;
    for (float g : part(exact)) norm += double{g} * g;
    if (norm == 0) {  // a head that takes no part
      CHECK(std::all_of(part(got).begin(), part(got).end(), [](float g) { return g == 0; }));
      continue;
    }
    const double error = relative_error(part(got), part(exact)), cpu_error = relative_error(part(cpu), part(exact));
    INFO(what, " ", p.name, ": ", error, " (CPU bfloat16: ", cpu_error, ")");
    CHECK(error < 2 * cpu_error + 0.01);
  }
}

}  // namespace

TEST_CASE("scores of rows and their gradients are the CPU's within bfloat16") {
  R1_NEEDS_GPU();
  for (const char* type : {"llama", "qwen2", "qwen3"}) {
    Pair m(type);
    GpuTraining training(m.gpu, m.region);
    const PackedBatch batch = make_batch(503, 5);
    const std::vector<std::int32_t>& rows = batch.predictors;  // some of them several times
    const auto d = static_cast<std::size_t>(m.gpu.shape().d);
    const auto n = rows.size();
    const std::vector<float> head = gpu::test::floats(static_cast<std::int64_t>(d), 8, 0.1f), slopes = gpu::test::floats(static_cast<std::int64_t>(n), 9, 1e-2f);
    const float bias = 0.5f;
    struct Cpu {
      std::vector<float> scores, gradient, d_head;
    };
    const auto on_cpu = [&](Transformer& model) {
      Cpu out;
      const std::vector<float> hidden = model.forward_hidden(batch, rows, false);
      std::vector<float> d_hidden(n * d);
      std::vector<double> d_head(d, 0.0);
      for (std::size_t i = 0; i < n; ++i) {
        double sum = bias;
        for (std::size_t j = 0; j < d; ++j) {
          sum += double{head[j]} * hidden[i * d + j];
          d_hidden[i * d + j] = slopes[i] * head[j];
          d_head[j] += double{slopes[i]} * hidden[i * d + j];
        }
        out.scores.push_back(static_cast<float>(sum));
      }
      out.d_head.assign(d_head.begin(), d_head.end());
      out.gradient.assign(static_cast<std::size_t>(model.weights().elements()), 0.f);
      model.backward_hidden(d_hidden, out.gradient);
      return out;
    };
    const Cpu exact = on_cpu(m.exact), cpu = on_cpu(m.cpu);
    const gpu::test::Array<float> dev_head(head);
    m.gpu.synchronize();
    std::vector<std::vector<float>> gradients;
    for (const bool recompute : {false, true, false}) {
      const std::vector<float> kept = training.forward_scores(batch, rows, dev_head, bias, recompute);
      double worst = 0, worst_cpu = 0;
      for (std::size_t i = 0; i < n; ++i) {
        worst = std::max(worst, std::abs(double{kept[i]} - exact.scores[i]));
        worst_cpu = std::max(worst_cpu, std::abs(double{cpu.scores[i]} - exact.scores[i]));
      }
      INFO(type, ": scores differ by ", worst, " (CPU bfloat16: ", worst_cpu, ")");
      CHECK(worst < 2 * worst_cpu + 1e-3);
      const gpu::DeviceMemory grad = zeros(m.gpu, m.gpu.weights().elements()), d_head = zeros(m.gpu, static_cast<std::int64_t>(d));
      training.backward_scores(slopes, dev_head, grad.as<float>(), d_head.as<float>());
      gradients.push_back(fetch(m.gpu, grad.as<float>(), exact.gradient.size()));
      const std::vector<float> of_head = fetch(m.gpu, d_head.as<float>(), d);
      const double error = relative_error(of_head, exact.d_head), cpu_error = relative_error(cpu.d_head, exact.d_head);
      INFO(type, " head: ", error, " (CPU bfloat16: ", cpu_error, ")");
      CHECK(error < 2 * cpu_error + 0.01);
      const std::vector<float> alone = training.evaluate_scores(batch, rows, dev_head, bias);
      CHECK(gpu::test::same_bits(alone, kept));
    }
    CHECK(gpu::test::same_bits(gradients[0], gradients[1]));
    CHECK(gpu::test::same_bits(gradients[0], gradients[2]));
    check_gradient(m, gradients[0], exact.gradient, cpu.gradient, type);
  }
}

TEST_CASE("losses of whole distributions: logits and gradients are the CPU's within bfloat16") {
  R1_NEEDS_GPU();
  for (const char* type : {"llama", "qwen3"}) {
    Pair m(type);
    constexpr std::int64_t kIds = 500;  // the last three take no part
    m.gpu.set_vocab_limit(kIds), m.cpu.set_vocab_limit(kIds), m.exact.set_vocab_limit(kIds);
    GpuTraining training(m.gpu, m.region);
    PackedBatch batch = make_batch(kIds, 5);
    const auto n = static_cast<std::int64_t>(batch.predictors.size()), ld = m.gpu.shape().ld_v;
    const std::vector<float> teacher = gpu::test::floats(n * ld, 12, 2.f);
    const gpu::test::Array<float> dev_teacher(teacher), loss(n);
    constexpr float kWeight = 1e-2f;
    // Forward KL: d loss / d z = q - p.
    const auto on_cpu = [&](Transformer& model) {
      std::vector<float> gradient(static_cast<std::size_t>(model.weights().elements()), 0.f);
      const std::int64_t v = model.config().vocab_size;
      model.train_logits(batch, false, [&](std::int64_t first, std::int64_t count, float* z) {
        for (std::int64_t i = 0; i < count; ++i) {
          const auto softmax = [&](const float* row) {
            std::vector<double> p(row, row + kIds);
            const double top = *std::max_element(p.begin(), p.end());
            double sum = 0;
            for (double& x : p) sum += x = std::exp(x - top);
            for (double& x : p) x /= sum;
            return p;
          };
          const auto q = softmax(z + i * v), p = softmax(teacher.data() + (first + i) * ld);
          for (std::int64_t j = 0; j < kIds; ++j) z[i * v + j] = static_cast<float>(kWeight * (q[static_cast<std::size_t>(j)] - p[static_cast<std::size_t>(j)]));
        }
      }, gradient);
      return gradient;
    };
    const std::vector<float> exact = on_cpu(m.exact), cpu = on_cpu(m.cpu);
    std::vector<std::vector<float>> gradients;
    for (const bool recompute : {false, true}) {
      const gpu::DeviceMemory grad = zeros(m.gpu, m.gpu.weights().elements());
      training.train_logits(batch, recompute, [&](std::int64_t first, std::int64_t count, const float* z, gpu::bf16* d) {
        gpu::divergence_rows(m.gpu.stream(), {z, ld, kIds, 1.f, 0.f, kWeight}, dev_teacher + first * ld, ld, count, loss + first, d, ld);
      }, grad.as<float>());
      gradients.push_back(fetch(m.gpu, grad.as<float>(), exact.size()));
    }
    CHECK(gpu::test::same_bits(gradients[0], gradients[1]));
    check_gradient(m, gradients[0], exact, cpu, type);

    training.prepare_logits(batch);
    const std::vector<float> want = m.exact.logits(batch, batch.predictors), near = m.cpu.logits(batch, batch.predictors);
    double worst = 0, worst_cpu = 0;
    for (const std::int64_t first : {std::int64_t{0}, std::int64_t{50}}) {
      const std::int64_t count = n - first;
      const std::vector<float> got = fetch(m.gpu, training.logit_rows(first, count), static_cast<std::size_t>(count * ld));
      for (std::int64_t i = 0; i < count; ++i)
        for (std::int64_t j = 0; j < kIds; ++j) {
          const auto at = static_cast<std::size_t>((first + i) * 503 + j);
          worst = std::max(worst, std::abs(double{got[static_cast<std::size_t>(i * ld + j)]} - want[at]));
          worst_cpu = std::max(worst_cpu, std::abs(double{near[at]} - want[at]));
        }
    }
    INFO(type, ": logits differ by ", worst, " (CPU bfloat16: ", worst_cpu, ")");
    CHECK(worst < 2 * worst_cpu + 1e-3);
    CHECK_THROWS_AS(training.logit_rows(n - 1, 2), Error);
    training.evaluate(batch, 1.f, false);
    CHECK_THROWS_AS(training.logit_rows(0, 1), Error);  // that pass took the memory
  }
}

TEST_CASE("a backward pass of memory that another pass took is refused") {
  R1_NEEDS_GPU();
  Pair m("llama");
  GpuTraining training(m.gpu, m.region), other(m.gpu, m.region);
  const PackedBatch batch = make_batch(503, 5);
  const gpu::DeviceMemory grad = zeros(m.gpu, m.gpu.weights().elements());
  const std::vector<float> slopes(batch.targets.size(), 1.f);
  training.forward(batch, 1.f, false, false);
  other.evaluate(batch, 1.f, false);
  CHECK_THROWS_WITH_AS(training.backward(slopes, {}, grad.as<float>()), doctest::Contains("took the memory"), Error);
}

TEST_CASE("what a pass needs is no less than what it takes; scores need no logits") {
  R1_NEEDS_GPU();
  Pair m("llama");
  const GpuTraining counting(m.gpu, m.region);
  const PackedBatch batch = make_batch(503, 5);
  const auto rows = static_cast<std::int64_t>(batch.tokens.size()), predictors = static_cast<std::int64_t>(batch.predictors.size());
  using Kind = GpuTraining::HeadKind;
  const gpu::test::Array<float> head(gpu::test::floats(128, 1));
  for (const bool keep : {true, false}) {
    GpuRegion region(m.memory);
    GpuTraining training(m.gpu, region);
    region.bytes = counting.bytes_needed(rows, predictors, {Kind::kScores, keep, false});
    if (keep) CHECK_NOTHROW(training.forward_scores(batch, batch.predictors, head, 0.f, false));
    else CHECK_NOTHROW(training.evaluate_scores(batch, batch.predictors, head, 0.f));
    if (!keep) {
      region.bytes = counting.bytes_needed(rows, predictors, {Kind::kDistributions, false, false});
      CHECK_NOTHROW(training.prepare_logits(batch));
    }
  }
  CHECK(counting.bytes_needed(4096, 4096, {Kind::kScores, true, false}) + std::size_t{2048} * 504 * 4 < counting.bytes_needed(4096, 4096, {Kind::kLogprobs, true, false}));
}

}  // namespace r1
