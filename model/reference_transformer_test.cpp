#include "model/reference_transformer.h"

#include <ATen/Parallel.h>
#include <ATen/ops/from_blob.h>
#include <doctest/doctest.h>

#include "core/error.h"
#include "model/golden_model.h"

using namespace r1;
using test::GoldenModel;
using test::relative_error;

namespace {

// OpenMP's barriers spin: on cores that others use, two threads took 20 times as long as one here, and more than the time limit.
[[maybe_unused]] const bool kOneThread = (at::set_num_threads(1), true);

at::Tensor tokens_of(GoldenModel& g) { return at::from_blob(g.tokens.data(), {g.batch, g.length}, at::kLong).clone(); }

double error(const at::Tensor& ours, const std::vector<float>& golden) {
  const at::Tensor host = ours.detach().to(at::kFloat).contiguous();
  return relative_error(host.const_data_ptr<float>(), static_cast<std::size_t>(host.numel()), golden);
}

}  // namespace

TEST_CASE("float32 equals transformers: logits, log-probabilities, entropies, loss, every gradient") {
  double worst_logits = 0, worst_gradient = 0;
  for (const std::string& family : test::kGoldenFamilies) {
    CAPTURE(family);
    GoldenModel g(family);
    ReferenceTransformer model(g.model.config(), at::kFloat);
    model.load(g.model.snapshot());
    const at::Tensor tokens = tokens_of(g);
    worst_logits = std::max(worst_logits, error(model.logits(tokens), g.floats("logits")));
    CHECK(error(model.logits(tokens), g.floats("logits")) < 2e-6);
    CHECK(error(model.logprobs(tokens), g.floats("logprobs")) < 2e-6);
    CHECK(error(model.entropies(tokens), g.floats("entropies")) < 2e-6);
    const at::Tensor loss = model.loss(tokens);
    CHECK(error(loss, g.floats("loss")) < 1e-6);
    loss.backward();
    const auto names = g.gradients("grad.");
    CHECK(names.size() == model.parameters().size());
    for (const std::string& name : names) {
      CAPTURE(name);
      const double e = error(model.gradient(name), g.floats("grad." + name));
      worst_gradient = std::max(worst_gradient, e);
      CHECK(e < 1e-5);
    }
    // A mixed objective at another temperature.
    model.zero_gradients();
    const float t = g.temperature_of_mixed();
    const auto weights = [&](const char* name) {
      const TensorView& view = g.expected.at(name);
      return at::from_blob(const_cast<std::byte*>(view.data), {g.batch, g.length - 1}, at::kFloat);
    };
    (weights("weights_logprob") * model.logprobs(tokens, t) + weights("weights_entropy") * model.entropies(tokens, t)).sum().backward();
    CHECK(g.gradients("mixed.").size() >= 6);
    for (const std::string& name : g.gradients("mixed.")) {
      CAPTURE(name);
      CHECK(error(model.gradient(name), g.floats("mixed." + name)) < 1e-5);
    }
  }
  MESSAGE("worst relative error: logits ", worst_logits, ", gradients ", worst_gradient);
}

TEST_CASE("float64 and bfloat16 agree with float32 within their rounding") {
  for (const std::string& family : test::kGoldenFamilies) {
    CAPTURE(family);
    GoldenModel g(family);
    const at::Tensor tokens = tokens_of(g);
    ReferenceTransformer exact(g.model.config(), at::kDouble), coarse(g.model.config(), at::kBFloat16);
    exact.load(g.model.snapshot());
    coarse.load(g.model.snapshot());
    CHECK(error(exact.logits(tokens), g.floats("logits")) < 2e-6);
    const double rounding = error(coarse.logits(tokens), g.floats("rounded.logits"));
    CHECK(rounding < 3e-2);
    CHECK(rounding > 1e-4);  // it really computes in bfloat16
    CHECK(rounding < 1.5 * std::stod(g.expected.metadata().at("bf16_error")));
  }
}

TEST_CASE("a sequence does not see its future") {
  GoldenModel g("tiny-qwen3");
  ReferenceTransformer model(g.model.config(), at::kFloat);
  model.load(g.model.snapshot());
  const at::Tensor tokens = tokens_of(g);
  at::Tensor changed = tokens.clone();
  changed.narrow(1, 20, 4) = (changed.narrow(1, 20, 4) + 1).remainder(g.model.config().vocab_size);
  const at::Tensor a = model.logits(tokens).narrow(1, 0, 20), b = model.logits(changed).narrow(1, 0, 20);
  CHECK(a.equal(b));
}

TEST_CASE("wrong weights are refused") {
  GoldenModel g("tiny-qwen2");
  ReferenceTransformer model(g.model.config(), at::kFloat);
  WeightSnapshot snapshot = g.model.snapshot();
  snapshot.tensors.pop_back();
  CHECK_THROWS_AS(model.load(snapshot), CheckpointError);
  CHECK_THROWS_AS(model.parameter("nothing"), CheckpointError);
}
