// The router against the definitions, finite differences, and a skewed input that the correction bias has to even out.
#include "model/router.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "core/rng.h"

using namespace r1;

namespace {

using Scoring = MixtureOfExperts::Scoring;

MixtureOfExperts mixture(Scoring scoring, bool normalise, std::int64_t groups = 1, std::int64_t top_groups = 1) {
  MixtureOfExperts moe;
  moe.scoring = scoring;
  moe.num_experts = 8, moe.experts_per_token = 3;
  moe.num_groups = groups, moe.top_groups = top_groups;
  moe.normalise = normalise;
  moe.normalise_epsilon = 1e-20;
  moe.scale = 2.5;
  return moe;
}

struct Routed {
  std::vector<float> scores, weights;
  std::vector<std::int32_t> experts;
};
Routed route(const MixtureOfExperts& moe, std::vector<float> logits, const float* bias = nullptr, const std::uint16_t* replayed = nullptr) {
  Routed r{std::move(logits), std::vector<float>(static_cast<std::size_t>(moe.experts_per_token)),
           std::vector<std::int32_t>(static_cast<std::size_t>(moe.experts_per_token))};
  route_token(moe, bias, replayed, r.scores.data(), r.experts.data(), r.weights.data());
  return r;
}

std::vector<float> random_logits(std::uint64_t seed, std::int64_t n) {
  StreamRng rng(seed, 0);
  std::vector<float> out;
  for (std::int64_t i = 0; i < n; ++i) out.push_back(static_cast<float>(rng.below(4000)) / 1000.f - 2.f);
  return out;
}

}  // namespace

TEST_CASE("softmax routing: the largest scores, ties to the smaller number, weights as they are or normalised") {
  const std::vector<float> logits = {0.f, 1.f, 2.f, 2.f, -1.f, 0.5f, 2.f, 2.f};
  const Routed plain = route(mixture(Scoring::kSoftmax, false), logits);
  CHECK(plain.experts == std::vector<std::int32_t>{2, 3, 6});
  double sum = 0;
  for (const float l : logits) sum += std::exp(static_cast<double>(l));
  for (const float w : plain.weights) CHECK(w == doctest::Approx(2.5 * std::exp(2.0) / sum));
  const Routed normalised = route(mixture(Scoring::kSoftmax, true), logits);
  for (const float w : normalised.weights) CHECK(w == doctest::Approx(2.5 / 3));
}

TEST_CASE("group limits: softmax judges a group by its best, sigmoid by its two best with the bias; the bias changes no weight") {
  // Groups {0,1} {2,3} {4,5} {6,7}.
  const std::vector<float> logits = {3.f, -3.f, 2.f, 2.f, 1.f, 1.9f, -4.f, -4.f};
  CHECK(route(mixture(Scoring::kSoftmax, false, 4, 2), logits).experts == std::vector<std::int32_t>{0, 2, 3});
  // Sums of sigmoids: 0.953 + 0.047, 2 * 0.881, 0.731 + 0.870, small: the first group is out.
  const Routed sigmoid = route(mixture(Scoring::kSigmoid, true, 4, 2), logits);
  CHECK(sigmoid.experts == std::vector<std::int32_t>{2, 3, 5});
  const auto s = [](double x) { return 1 / (1 + std::exp(-x)); };
  const double total = 2 * s(2) + s(1.9);
  CHECK(sigmoid.weights[2] == doctest::Approx(2.5 * s(1.9) / total));
  std::vector<float> bias(8, 0.f);
  bias[6] = bias[7] = 5.f;
  const Routed biased = route(mixture(Scoring::kSigmoid, true, 4, 2), logits, bias.data());
  CHECK(biased.experts == std::vector<std::int32_t>{2, 6, 7});
  CHECK(biased.weights[1] == doctest::Approx(2.5 * s(-4) / (s(2) + 2 * s(-4))));
  // A negative biased score must not lose against the zero of an excluded group.
  bias.assign(8, -4.f);
  CHECK(route(mixture(Scoring::kSigmoid, true, 4, 2), logits, bias.data()).experts == sigmoid.experts);
}

TEST_CASE("replay takes the given experts in any order, with the weights of today's scores") {
  const MixtureOfExperts moe = mixture(Scoring::kSoftmax, true);
  const std::vector<float> logits = random_logits(3, 8);
  const std::uint16_t replayed[] = {7, 0, 4};
  const Routed r = route(moe, logits, nullptr, replayed);
  CHECK(r.experts == std::vector<std::int32_t>{0, 4, 7});
  const double sum = std::exp(logits[0]) + std::exp(logits[4]) + std::exp(logits[7]);
  CHECK(r.weights[2] == doctest::Approx(2.5 * std::exp(logits[7]) / sum));
  const Routed chosen = route(moe, logits);
  const std::uint16_t own[] = {static_cast<std::uint16_t>(chosen.experts[2]), static_cast<std::uint16_t>(chosen.experts[0]),
                               static_cast<std::uint16_t>(chosen.experts[1])};
  CHECK(route(moe, logits, nullptr, own).weights == chosen.weights);
  const std::uint16_t beyond[] = {0, 1, 8}, twice[] = {1, 1, 2};
  CHECK_THROWS_AS(route(moe, logits, nullptr, beyond), Error);
  CHECK_THROWS_AS(route(moe, logits, nullptr, twice), Error);
}

TEST_CASE("the router's gradient is the derivative of the weights") {
  for (const Scoring scoring : {Scoring::kSoftmax, Scoring::kSigmoid})
    for (const bool normalise : {false, true}) {
      CAPTURE(static_cast<int>(scoring));
      CAPTURE(normalise);
      const MixtureOfExperts moe = mixture(scoring, normalise);
      const std::vector<float> logits = random_logits(7, 8);
      const std::vector<float> d = {0.7f, -1.1f, 0.4f};
      const Routed base = route(moe, logits);
      const std::uint16_t fixed[] = {static_cast<std::uint16_t>(base.experts[0]), static_cast<std::uint16_t>(base.experts[1]),
                                     static_cast<std::uint16_t>(base.experts[2])};
      std::vector<float> grad(8, 0.f);
      route_token_backward(moe, base.scores.data(), base.experts.data(), d.data(), grad.data());
      for (std::size_t i = 0; i < 8; ++i) {
        const auto value = [&](float step) {
          std::vector<float> moved = logits;
          moved[i] += step;
          const Routed r = route(moe, moved, nullptr, fixed);
          double sum = 0;
          for (std::size_t k = 0; k < 3; ++k) sum += static_cast<double>(d[k]) * r.weights[k];
          return sum;
        };
        CHECK(grad[i] == doctest::Approx((value(0.01f) - value(-0.01f)) / 0.02).epsilon(2e-3).scale(0.05));
      }
    }
}

TEST_CASE("balance loss: 1 when even, its gradient is the derivative with the choice held") {
  for (const Scoring scoring : {Scoring::kSoftmax, Scoring::kSigmoid}) {
    MixtureOfExperts moe = mixture(scoring, true);
    moe.experts_per_token = 2;
    // Equal scores, each expert chosen equally often.
    std::vector<float> even(8 * 4, scoring == Scoring::kSoftmax ? 0.125f : 0.5f);
    std::vector<std::int32_t> cyclic;
    for (std::int32_t t = 0; t < 4; ++t) cyclic.insert(cyclic.end(), {2 * t, 2 * t + 1});
    CHECK(balance_loss(moe, even.data(), cyclic.data(), 4, 1, nullptr) == doctest::Approx(1));

    const std::int64_t n = 5;
    const std::vector<float> logits = random_logits(11, n * 8);
    std::vector<std::int32_t> experts;
    const auto scores_of = [&](const std::vector<float>& z, std::vector<std::int32_t>* chosen) {
      std::vector<float> scores;
      for (std::int64_t t = 0; t < n; ++t) {
        const Routed r = route(moe, {z.begin() + t * 8, z.begin() + (t + 1) * 8});
        scores.insert(scores.end(), r.scores.begin(), r.scores.end());
        if (chosen) chosen->insert(chosen->end(), r.experts.begin(), r.experts.end());
      }
      return scores;
    };
    const std::vector<float> scores = scores_of(logits, &experts);
    std::vector<float> grad(static_cast<std::size_t>(n * 8), 0.f);
    const double loss = balance_loss(moe, scores.data(), experts.data(), n, 3, grad.data());
    CHECK(loss > 0.5);
    for (std::size_t i = 0; i < grad.size(); ++i) {
      const auto value = [&](float step) {
        std::vector<float> moved = logits;
        moved[i] += step;
        return 3 * balance_loss(moe, scores_of(moved, nullptr).data(), experts.data(), n, 0, nullptr);
      };
      CHECK(grad[i] == doctest::Approx((value(0.01f) - value(-0.01f)) / 0.02).epsilon(5e-3).scale(0.02));
    }
  }
}

TEST_CASE("the correction bias evens out the load of a skewed input") {
  MixtureOfExperts moe = mixture(Scoring::kSigmoid, true, 2, 2);
  moe.correction_bias = true;
  std::vector<float> bias(8, 0.f);
  double first = 0, last = 0;
  for (int step = 0; step < 400; ++step) {
    std::vector<std::int64_t> load(8, 0);
    for (std::uint64_t t = 0; t < 64; ++t) {
      std::vector<float> logits = random_logits(1000 + t, 8);
      for (std::size_t i = 0; i < 8; ++i) logits[i] += i < 3 ? 3.f : 0.f;  // three favourites
      for (const std::int32_t e : route(moe, logits, bias.data()).experts) ++load[static_cast<std::size_t>(e)];
    }
    const double worst = static_cast<double>(*std::max_element(load.begin(), load.end())) / (64.0 * 3 / 8);
    if (step == 0) first = worst;
    last = worst;
    update_correction_bias(load, 0.005, bias.data());
  }
  CHECK(first > 2.4);
  CHECK(last < 1.3);
  MESSAGE("largest load over the mean: ", first, " before, ", last, " after");
}
