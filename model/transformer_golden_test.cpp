// The CPU transformer against what transformers computed: logits, log-probabilities, entropies and gradients.
#include "model/transformer.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "model/golden_model.h"

using namespace r1;
using test::GoldenModel;
using test::relative_error;

namespace {

PackedBatch batch_of(const GoldenModel& g) {
  PackedBatch batch;
  for (std::int64_t b = 0; b < g.batch; ++b) {
    const auto begin = static_cast<std::int32_t>(batch.tokens.size());
    for (std::int64_t t = 0; t < g.length; ++t) {
      batch.tokens.push_back(static_cast<TokenId>(g.tokens[static_cast<std::size_t>(b * g.length + t)]));
      batch.positions.push_back(static_cast<std::int32_t>(t));
      if (t > 0) {
        batch.predictors.push_back(begin + static_cast<std::int32_t>(t) - 1);
        batch.targets.push_back(batch.tokens.back());
      }
    }
    batch.sequences.push_back({begin, static_cast<std::int32_t>(batch.tokens.size()), -1, -1});
  }
  return batch;
}

double error(const std::vector<float>& ours, const std::vector<float>& golden) {
  return relative_error(ours.data(), ours.size(), golden);
}

struct Loaded {
  Loaded(const GoldenModel& g, DType dtype) : pool(2), model(g.config(), dtype, pool), batch(batch_of(g)) {
    model.weights().load(g.model.snapshot());
    model.weights_changed();
  }
  std::vector<float> all_logits() {
    std::vector<std::int32_t> rows(batch.tokens.size());
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::int32_t>(i);
    return model.logits(batch, rows);
  }
  ComputePool pool;
  Transformer model;
  PackedBatch batch;
};

// The largest relative error of the gradients with this prefix.
double gradient_error(const GoldenModel& g, const Transformer& model, const std::vector<float>& grad, const std::string& prefix) {
  double worst = 0;
  for (const std::string& name : g.gradients(prefix)) {
    const Parameter& p = model.weights().find(name);
    const double e = relative_error(grad.data() + p.offset, static_cast<std::size_t>(p.elements), g.floats(prefix + name));
    CAPTURE(name);
    CHECK(e < 1e-5);
    worst = std::max(worst, e);
  }
  return worst;
}

}  // namespace

TEST_CASE("float32 equals transformers") {
  double worst_logits = 0, worst_gradient = 0;
  std::vector<std::string> families = test::all_golden_families();
  families.emplace_back("tiny-phi3-long");  // apart: other tests sample beyond what its short factors are for
  for (const std::string& family : families) {
    CAPTURE(family);
    const GoldenModel g(family);
    Loaded m(g, DType::kF32);
    const double logits = error(m.all_logits(), g.floats("logits"));
    CHECK(logits < 5e-6);
    worst_logits = std::max(worst_logits, logits);
    for (const bool recompute : {false, true}) {
      const LogprobRows rows = m.model.forward(m.batch, 1.f, true, recompute);
      CHECK(error(rows.logprobs, g.floats("logprobs")) < 1e-5);
      CHECK(error(rows.entropies, g.floats("entropies")) < 1e-5);
      std::vector<float> grad(static_cast<std::size_t>(m.model.weights().elements()), 0.f);
      // The loss is the mean of -logprobs.
      const std::vector<float> d(rows.logprobs.size(), -1.f / static_cast<float>(rows.logprobs.size()));
      m.model.backward(d, {}, grad);
      CHECK(g.gradients("grad.").size() == m.model.weights().parameters().size());
      worst_gradient = std::max(worst_gradient, gradient_error(g, m.model, grad, "grad."));

      m.model.forward(m.batch, g.temperature_of_mixed(), true, recompute);
      std::fill(grad.begin(), grad.end(), 0.f);
      m.model.backward(g.floats("weights_logprob"), g.floats("weights_entropy"), grad);
      CHECK(g.gradients("mixed.").size() >= 6);
      worst_gradient = std::max(worst_gradient, gradient_error(g, m.model, grad, "mixed."));
    }
  }
  MESSAGE("worst relative error: logits ", worst_logits, ", gradients ", worst_gradient);
}

TEST_CASE("bfloat16 is within its rounding of float32 arithmetic on the same weights") {
  double worst = 0, worst_logprob = 0, theirs = 0;
  std::vector<std::string> families = test::kGoldenFamilies;
  families.insert(families.end(), test::kGoldenDense.begin(), test::kGoldenDense.end());
  for (const std::string& family : families) {
    CAPTURE(family);
    const GoldenModel g(family);
    Loaded m(g, DType::kBF16);
    const double e = error(m.all_logits(), g.floats("rounded.logits"));
    const LogprobRows rows = m.model.forward(m.batch, 1.f, false, false);
    const double logprob = error(rows.logprobs, g.floats("rounded.logprobs"));
    const double its = std::stod(g.expected.metadata().at("bf16_error"));
    CHECK(e < std::max(2e-2, 1.2 * its));  // Gemma 2's capped logits lose as much in transformers
    CHECK(logprob < 2e-2);
    worst = std::max(worst, e);
    worst_logprob = std::max(worst_logprob, logprob);
    theirs = std::max(theirs, its);
  }
  MESSAGE("worst relative error: logits ", worst, ", log-probabilities ", worst_logprob, "; transformers in bfloat16: ", theirs);
  CHECK(worst <= theirs);  // the float32 residual stream must pay
}

TEST_CASE("LongRoPE: beyond the original context a model needs the long factors, which are others") {
  const GoldenModel g("tiny-phi3-long");
  ComputePool pool(1);
  Transformer model(g.model.config(), DType::kF32, pool);
  const PackedBatch batch = batch_of(g);
  std::string text;
  try {
    model.evaluate(batch, 1.f, false);
  } catch (const ConfigError& e) {
    text = e.what();
  }
  CHECK(text.find("position 23: beyond 16 positions this phi3 model (LongRoPE)") != std::string::npos);
  CHECK(rope_inverse_frequencies(g.config()) != rope_inverse_frequencies(g.model.config()));
}
