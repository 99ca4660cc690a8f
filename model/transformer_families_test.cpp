// What only some families have, against transformers and independent PyTorch: the routers' choices, replay of them in bfloat16, the balance
// loss, and multi-token prediction.
#include <doctest/doctest.h>

#include "core/error.h"
#include "model/golden_model.h"
#include "model/transformer.h"
#include "tests/support/support.h"

using namespace r1;
using test::GoldenModel;
using test::relative_error;

namespace {

struct Loaded {
  Loaded(const GoldenModel& g, DType dtype) : pool(2), model(g.model.config(), dtype, pool) {
    g.model.load_into(model.weights());
    model.weights_changed();
    for (std::int64_t b = 0; b < g.batch; ++b) {
      const auto begin = static_cast<std::int32_t>(batch.tokens.size());
      for (std::int64_t t = 0; t < g.length; ++t) {
        batch.tokens.push_back(static_cast<TokenId>(g.tokens[static_cast<std::size_t>(b * g.length + t)]));
        batch.positions.push_back(static_cast<std::int32_t>(t));
        if (t > 0) batch.predictors.push_back(begin + static_cast<std::int32_t>(t) - 1), batch.targets.push_back(batch.tokens.back());
      }
      batch.sequences.push_back({begin, static_cast<std::int32_t>(batch.tokens.size()), -1, -1});
    }
  }
  std::vector<float> gradient(float each) {
    std::vector<float> grad(static_cast<std::size_t>(model.weights().elements()), 0.f);
    model.forward(batch, 1.f, false, true);
    model.backward(std::vector<float>(batch.targets.size(), each), {}, grad);
    return grad;
  }
  ComputePool pool;
  Transformer model;
  PackedBatch batch;
};

// [N][layers with experts][K], from the fixture's one tensor a layer.
std::vector<std::uint16_t> golden_experts(const GoldenModel& g) {
  const ModelConfig& c = g.model.config();
  const std::int64_t k = c.moe->experts_per_token, n = g.batch * g.length;
  std::vector<std::vector<std::int64_t>> layers;
  for (std::int64_t l = 0; l < c.num_hidden_layers; ++l) {
    if (!c.has_experts(l)) continue;
    const TensorView& t = g.expected.at("router." + std::to_string(l) + ".experts");
    std::vector<std::int64_t> values(static_cast<std::size_t>(t.elements()));
    std::memcpy(values.data(), t.data, t.bytes());
    layers.push_back(std::move(values));
  }
  std::vector<std::uint16_t> out;
  for (std::int64_t i = 0; i < n; ++i)
    for (const auto& layer : layers)
      for (std::int64_t j = 0; j < k; ++j) out.push_back(static_cast<std::uint16_t>(layer[static_cast<std::size_t>(i * k + j)]));
  return out;
}

}  // namespace

TEST_CASE("routers choose what transformers chooses; with that choice given, bfloat16 is within its rounding") {
  double worst = 0;
  for (const std::string& family : test::kGoldenExperts) {
    CAPTURE(family);
    const GoldenModel g(family);
    const std::vector<std::uint16_t> golden = golden_experts(g);
    Loaded exact(g, DType::kF32);
    std::vector<std::uint16_t> experts;
    exact.model.evaluate_experts(exact.batch, 1.f, experts);
    CHECK(experts == golden);
    Loaded rounded(g, DType::kBF16);
    rounded.batch.experts = golden;
    const LogprobRows rows = rounded.model.forward(rounded.batch, 1.f, false, false);
    const double e = relative_error(rows.logprobs.data(), rows.logprobs.size(), g.floats("rounded.logprobs"));
    worst = std::max(worst, e);
    CHECK(e < 4e-2);  // the fixture's choice on rounded weights may differ for single tokens
  }
  MESSAGE("worst relative error of bfloat16 log-probabilities with the experts given: ", worst);
}

TEST_CASE("the balance loss and its gradient equal independent PyTorch's") {
  const GoldenModel g("tiny-v1");
  Loaded m(g, DType::kF32);
  m.model.set_balance_loss(1);
  const std::vector<float> grad = m.gradient(0.f);
  CHECK(m.model.take_balance_loss() == doctest::Approx(g.floats("balance")[0]).epsilon(1e-5));
  CHECK(m.model.take_balance_loss() == 0);
  REQUIRE(g.gradients("balance.").size() == 3);
  for (const std::string& name : g.gradients("balance.")) {
    CAPTURE(name);
    const Parameter& p = m.model.weights().find(name);
    CHECK(relative_error(grad.data() + p.offset, static_cast<std::size_t>(p.elements), g.floats("balance." + name)) < 1e-5);
  }
}

TEST_CASE("loads are counted once a trained pass, recomputed or not, and nothing is dropped") {
  const GoldenModel g("tiny-v3");
  Loaded m(g, DType::kF32);
  m.model.evaluate(m.batch, 1.f, false);
  CHECK(m.model.take_expert_load().max_over_mean() == 0);  // only passes that train count
  m.gradient(1.f);
  const ExpertLoad load = m.model.take_expert_load();
  CHECK(load.layers == 1);
  CHECK(load.experts == 16);
  std::int64_t sum = 0;
  for (const std::int64_t t : load.tokens) sum += t;
  CHECK(sum == g.batch * g.length * 4);
  CHECK(load.dropped == 0);
  CHECK(load.max_over_mean() > 1);
  std::vector<std::int64_t> counted(16, 0);
  for (const std::uint16_t e : golden_experts(g)) ++counted[e];
  CHECK(load.tokens == counted);
}

TEST_CASE("multi-token prediction: loss and gradients of every parameter equal transformers'") {
  const GoldenModel g("tiny-v3-mtp");
  REQUIRE(g.model.config().num_mtp_layers == 1);
  Loaded m(g, DType::kF32);
  const auto targets = static_cast<double>(g.batch * (g.length - 2));
  m.model.set_prediction_loss(0.3 / targets);
  const std::vector<float> grad = m.gradient(-1.f / static_cast<float>(m.batch.targets.size()));
  const PredictionLoss loss = m.model.take_prediction_loss();
  CHECK(loss.rows == static_cast<std::int64_t>(targets));
  CHECK(loss.sum / targets == doctest::Approx(g.floats("mtp.loss")[0]).epsilon(1e-5));
  CHECK(g.gradients("mtp.grad.").size() == m.model.weights().parameters().size());
  double worst = 0;
  for (const std::string& name : g.gradients("mtp.grad.")) {
    CAPTURE(name);
    const Parameter& p = m.model.weights().find(name);
    const double e = relative_error(grad.data() + p.offset, static_cast<std::size_t>(p.elements), g.floats("mtp.grad." + name));
    CHECK(e < 1e-5);
    worst = std::max(worst, e);
  }
  MESSAGE("worst relative error of a gradient with the prediction loss: ", worst);
  // The model itself is what it is without it.
  CHECK(m.model.evaluate(m.batch, 1.f, false).logprobs.size() == m.batch.targets.size());
  std::vector<std::int32_t> rows(m.batch.tokens.size());
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::int32_t>(i);
  const std::vector<float> logits = m.model.logits(m.batch, rows);
  CHECK(relative_error(logits.data(), logits.size(), g.floats("logits")) < 5e-6);

  const GoldenModel without("tiny-v3");
  Loaded plain(without, DType::kF32);
  CHECK_THROWS_AS(plain.model.set_prediction_loss(0.1), ConfigError);
  // One sequence that continues the first four rows of the batch.
  m.batch.sequences = {{0, 4, -1, -1}, {4, static_cast<std::int32_t>(m.batch.tokens.size()), 0, 4}};
  for (std::size_t i = 0; i < m.batch.positions.size(); ++i) m.batch.positions[i] = static_cast<std::int32_t>(i);
  CHECK_THROWS_AS(m.gradient(1.f), ConfigError);
}

TEST_CASE("prediction layers are kept: saved under the released names with the copies that loaders look for, and read again") {
  const GoldenModel g("tiny-v3-mtp");
  const test::TempDir dir;
  SaveModelOptions save;
  save.dtype = DType::kF32;
  save_model_directory(dir / "copy", g.model.config(), g.model.snapshot().tensors, save);
  const ModelDirectory copy(dir / "copy");
  CHECK(copy.config().num_mtp_layers == 1);
  const WeightSnapshot a = g.model.snapshot(), b = copy.snapshot();
  REQUIRE(a.tensors.size() == b.tensors.size());
  for (std::size_t i = 0; i < a.tensors.size(); ++i) {
    CHECK(a.tensors[i].name == b.tensors[i].name);
    CHECK(std::memcmp(a.tensors[i].data, b.tensors[i].data, a.tensors[i].bytes()) == 0);
  }
  const SafetensorsFile file(dir / "copy" / "model.safetensors");
  for (const char* name : {"model.layers.2.embed_tokens.weight", "model.layers.2.shared_head.head.weight", "model.layers.2.eh_proj.weight"})
    CHECK(file.find(name) != nullptr);
  // A configuration that tells of a layer which the files lack: transformers saves such.
  CHECK(GoldenModel("tiny-v3").model.config().num_mtp_layers == 0);
}
