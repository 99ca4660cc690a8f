#include "rl/policy_loss.h"

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/error.h"
#include "rl/loss_test_support.h"

namespace r1 {
namespace {

using nlohmann::json;

using test::Tokens, test::make_tokens, test::plain, test::slope;

constexpr Aggregation kAll[] = {Aggregation::kSeqMeanTokenMean, Aggregation::kTokenMean,
                                Aggregation::kSeqMeanTokenSumNorm, Aggregation::kSeqMeanTokenSum};

PolicyLossOptions trl_options(const json& c) {
  PolicyLossOptions o;
  o.mismatch = MismatchOptions("none");
  const std::string type = c["loss_type"];
  o.aggregation = type == "grpo"      ? Aggregation::kSeqMeanTokenMean
                  : type == "dr_grpo" ? Aggregation::kSeqMeanTokenSumNorm
                                      : Aggregation::kTokenMean;
  o.kl_coefficient = c["beta"];
  const json& more = c["options"];
  if (type == "cispo") {
    o.surrogate = SurrogateChoice("cispo").set("cispo_ratio_cap", more["epsilon_high"]);
  } else {
    const double low = more.value("epsilon", 0.2);
    o.surrogate.set("clip_low", low).set("clip_high", more.value("epsilon_high", low)).set("dual_clip", more.value("delta", 0.0));
  }
  o.kl_off_policy = more.value("use_bias_correction_kl", false);
  if (more.value("importance_sampling_level", "token") == "sequence") o.ratio_level = RatioLevel::kSequence;
  return o;
}

}  // namespace

TEST_CASE("the off-policy mask looks at the mean over an answer's tokens, not at the sum") {
  Tokens t = make_tokens({4, 4}, 0);
  for (std::size_t i = 0; i < 8; ++i) t.advantages[i] = -1, t.behavior[i] = t.old[i] = t.logprobs[i] + (i < 4 ? 0.15f : 0.7f);
  PolicyLossOptions o = plain();
  o.off_policy_mask_threshold = 0.5;
  const LossOutput out = policy_loss(t.input(), t.denominator(), o);
  CHECK(out.masked_answers == 1);
  CHECK(out.d_logprobs[0] != 0);
  CHECK(out.d_logprobs[4] == 0);
}

TEST_CASE("loss and gradients equal TRL's") {
  const json fixture = json::parse(std::ifstream(R1_SOURCE_DIR "/tests/golden/trl_loss.json"));
  Tokens t;
  std::vector<std::pair<int, int>> place;
  for (int row = 0; row < 4; ++row) {
    std::int64_t n = 0;
    for (int col = 0; col < 7; ++col) {
      if (fixture["mask"][row][col] == 0) continue;
      t.logprobs.push_back(fixture["logps"][row][col]);
      t.old.push_back(fixture["old_logps"][row][col]);
      t.ref.push_back(fixture["ref_logps"][row][col]);
      t.advantages.push_back(fixture["advantages"][row]);
      t.answer.push_back(row);
      place.emplace_back(row, col);
      ++n;
    }
    t.answer_tokens.push_back(n);
  }
  CHECK(fixture["cases"].size() == 16);
  for (const json& c : fixture["cases"]) {
    CAPTURE(c["loss_type"]);
    CAPTURE(c["options"].dump());
    const PolicyLossOptions o = trl_options(c);
    const LossOutput out = policy_loss(t.input(), t.denominator(fixture["max_completion_length"]), o);
    CHECK(std::abs(out.loss - c["loss"].get<double>()) <= 1e-6);
    double worst = 0, kl = 0, low = 0, high = 0;
    for (std::size_t i = 0; i < place.size(); ++i) {
      worst =
          std::max(worst, std::abs(out.d_logprobs[i] - c["gradient"][place[i].first][place[i].second].get<double>()));
      if (!out.kl.empty()) kl += out.kl[i];
      low += out.clipped_low[i];
      high += out.clipped_high[i];
    }
    CHECK(worst <= 1e-6);
    const double n = static_cast<double>(place.size());
    if (o.kl_coefficient != 0) CHECK(kl / n == doctest::Approx(c["metrics"]["kl"].get<double>()).epsilon(1e-6));
    if (o.surrogate.entry().name == "clip" && o.ratio_level == RatioLevel::kToken) {
      CHECK(low / n == doctest::Approx(c["metrics"]["clip_ratio/low_mean"].get<double>()).epsilon(1e-6));
      CHECK(high / n == doctest::Approx(c["metrics"]["clip_ratio/high_mean"].get<double>()).epsilon(1e-6));
    }
  }
}

TEST_CASE("on policy every objective has the gradient sum of A grad ln pi under its aggregation") {
  Tokens t = make_tokens({3, 1, 5}, 0.3);
  t.old = t.behavior = t.logprobs;
  for (Aggregation a : kAll) {
    for (const Surrogate* s : surrogates()) {
      for (RatioLevel level : {RatioLevel::kToken, RatioLevel::kSequence, RatioLevel::kSequenceToken}) {
        // CISPO is a token objective; a sequence ratio's derivative spreads evenly, equal for a constant advantage.
        PolicyLossOptions o = plain(a);
        CAPTURE(s->name);
        o.surrogate = SurrogateChoice(s->name);
        o.ratio_level = level;
        if (o.surrogate.entry().name == "clip") o.surrogate.set("dual_clip", 3);
        o.mismatch = MismatchOptions("token_tis");
        const LossOutput out = policy_loss(t.input(), t.denominator(8), o);
        for (std::size_t i = 0; i < t.logprobs.size(); ++i) {
          const double w = aggregation_weight(a, t.denominator(8), t.answer_tokens[t.answer[i]]);
          CHECK(out.d_logprobs[i] == doctest::Approx(-t.advantages[i] * w).epsilon(1e-6));
          CHECK(out.clipped_low[i] + out.clipped_high[i] == 0);
        }
        // The same without an old policy: the policy itself, detached.
        Tokens first = t;
        first.old.clear();
        CHECK(policy_loss(first.input(), t.denominator(8), o).d_logprobs == out.d_logprobs);
      }
    }
  }
}

TEST_CASE("gradients are the slopes of the loss") {
  const Tokens t = make_tokens({4, 2, 6}, 0.5, 3);
  std::vector<PolicyLossOptions> variants;
  for (Aggregation a : kAll) variants.push_back(plain(a));
  for (KlEstimator k : {KlEstimator::kK1, KlEstimator::kK2, KlEstimator::kK3}) {
    for (bool off_policy : {false, true}) {
      variants.push_back(plain());
      variants.back().kl_coefficient = 0.3;
      variants.back().kl_estimator = k;
      variants.back().kl_off_policy = off_policy;
    }
  }
  for (const MismatchMethod& m : mismatch_methods()) {
    variants.push_back(plain());
    variants.back().mismatch = MismatchOptions(m.name);
    if (m.has_floor) variants.back().mismatch.floor = 0.5;
  }
  variants.push_back(plain());
  variants.back().ratio_level = RatioLevel::kSequence;
  variants.push_back(plain());
  variants.back().surrogate.set("dual_clip", 1.3);
  for (const PolicyLossOptions& o : variants) {
    const LossOutput out = policy_loss(t.input(), t.denominator(10), o);
    for (std::size_t i = 0; i < t.logprobs.size(); ++i)
      CHECK(out.d_logprobs[i] == doctest::Approx(slope(t, o, i, t.denominator(10))).epsilon(2e-4));
  }
}

TEST_CASE("GSPO on answers of one token is GRPO; DAPO without clip-higher on equal lengths is GRPO") {
  Tokens one = make_tokens({1, 1, 1, 1}, 0.6, 5);
  PolicyLossOptions token = plain(Aggregation::kSeqMeanTokenMean), sequence = token;
  sequence.ratio_level = RatioLevel::kSequence;
  CHECK(policy_loss(one.input(), one.denominator(), token).d_logprobs ==
        policy_loss(one.input(), one.denominator(), sequence).d_logprobs);

  Tokens equal = make_tokens({4, 4, 4}, 0.6, 6);
  const LossOutput grpo = policy_loss(equal.input(), equal.denominator(), plain(Aggregation::kSeqMeanTokenMean));
  const LossOutput dapo = policy_loss(equal.input(), equal.denominator(), plain(Aggregation::kTokenMean));
  CHECK(grpo.loss == doctest::Approx(dapo.loss).epsilon(1e-12));
  for (std::size_t i = 0; i < equal.logprobs.size(); ++i)
    CHECK(grpo.d_logprobs[i] == doctest::Approx(dapo.d_logprobs[i]).epsilon(1e-6));
}

TEST_CASE("one denominator from outside: the split into micro-batches changes no bit of a token's gradient") {
  const Tokens all = make_tokens({3, 5, 2, 4}, 0.4, 9);
  PolicyLossOptions o = plain(Aggregation::kTokenMean);
  o.kl_coefficient = 0.1;
  o.mismatch = MismatchOptions("sequence_tis");
  o.entropy_coefficient = 0.01;
  for (Aggregation a : kAll) {
    o.aggregation = a;
    const LossOutput whole = policy_loss(all.input(), all.denominator(6), o);
    double sum = 0;
    std::vector<float> pieces, entropy_pieces;
    for (std::size_t answer = 0; answer < 4; ++answer) {
      Tokens part;
      part.answer_tokens = {all.answer_tokens[answer]};
      for (std::size_t i = 0; i < all.logprobs.size(); ++i) {
        if (all.answer[i] != static_cast<std::int64_t>(answer)) continue;
        part.logprobs.push_back(all.logprobs[i]);
        part.old.push_back(all.old[i]);
        part.behavior.push_back(all.behavior[i]);
        part.ref.push_back(all.ref[i]);
        part.entropies.push_back(all.entropies[i]);
        part.advantages.push_back(all.advantages[i]);
        part.answer.push_back(0);
      }
      const LossOutput out = policy_loss(part.input(), all.denominator(6), o);
      sum += out.loss;
      pieces.insert(pieces.end(), out.d_logprobs.begin(), out.d_logprobs.end());
      entropy_pieces.insert(entropy_pieces.end(), out.d_entropies.begin(), out.d_entropies.end());
    }
    CHECK(pieces == whole.d_logprobs);
    CHECK(entropy_pieces == whole.d_entropies);
    CHECK(sum == doctest::Approx(whole.loss).epsilon(1e-12));
  }
}

TEST_CASE("KL estimators against the exact categorical KL and their gradients") {
  // policy p = softmax(theta), reference x; expectations over p are exact sums over four symbols.
  const std::vector<double> theta = {0.3, -0.5, 1.1, 0.0}, x = {0.1, 0.4, 0.2, 0.3};
  std::vector<double> p(4);
  double z = 0;
  for (int i = 0; i < 4; ++i) z += std::exp(theta[i]);
  for (int i = 0; i < 4; ++i) p[i] = std::exp(theta[i]) / z;
  double kl_px = 0;
  for (int i = 0; i < 4; ++i) kl_px += p[i] * std::log(p[i] / x[i]);

  struct Expected { double value; std::vector<double> gradient; };
  const auto expected = [&](KlEstimator estimator, bool off_policy) {
    Expected e{0, std::vector<double>(4, 0.0)};
    for (int s = 0; s < 4; ++s) {
      Tokens t;
      t.logprobs = {static_cast<float>(std::log(p[s]))};
      t.old = t.logprobs;  // on policy: rho is 1, but its gradient counts
      t.ref = {static_cast<float>(std::log(x[s]))};
      t.advantages = {0.f};
      t.answer = {0};
      t.answer_tokens = {1};
      PolicyLossOptions o = plain();
      o.kl_coefficient = 1;
      o.kl_estimator = estimator;
      o.kl_off_policy = off_policy;
      const LossOutput out = policy_loss(t.input(), t.denominator(), o);
      e.value += p[s] * out.loss;
      for (int j = 0; j < 4; ++j) e.gradient[j] += p[s] * out.d_logprobs[0] * ((j == s) - p[j]);
      if (estimator == KlEstimator::kK3 || estimator == KlEstimator::kK3Plus) CHECK(out.loss >= 0);
    }
    return e;
  };
  const auto check_gradient = [&](const std::vector<double>& got, const std::function<double(int)>& want) {
    for (int j = 0; j < 4; ++j) CHECK(got[j] == doctest::Approx(want(j)).epsilon(1e-5));
  };
  const auto grad_kl_px = [&](int j) { return p[j] * (std::log(p[j] / x[j]) - kl_px); };  // d KL(p||x) / d theta_j
  const auto grad_kl_xp = [&](int j) { return p[j] - x[j]; };                             // d KL(x||p) / d theta_j

  const Expected k1 = expected(KlEstimator::kK1, false), k2 = expected(KlEstimator::kK2, false),
                 k3 = expected(KlEstimator::kK3, false), k3p = expected(KlEstimator::kK3Plus, false),
                 corrected = expected(KlEstimator::kK3, true);
  CHECK(k1.value == doctest::Approx(kl_px).epsilon(1e-6));
  CHECK(k3.value == doctest::Approx(kl_px).epsilon(1e-6));
  CHECK(k3p.value == doctest::Approx(kl_px).epsilon(1e-6));
  for (int j = 0; j < 4; ++j) CHECK(std::abs(k1.gradient[j]) < 1e-7);  // useless in the loss
  check_gradient(k2.gradient, grad_kl_px);
  check_gradient(k3p.gradient, grad_kl_px);
  check_gradient(k3.gradient, grad_kl_xp);
  check_gradient(corrected.gradient, grad_kl_px);
}

TEST_CASE("clamps: extreme log-ratios give finite numbers") {
  Tokens t = make_tokens({2}, 0);
  t.old = {-400.f, -0.1f};
  t.ref = {-0.1f, -300.f};
  t.logprobs = {-0.1f, -200.f};
  t.behavior = {-500.f, -0.1f};
  PolicyLossOptions o = plain();
  o.kl_coefficient = 1;
  o.mismatch = MismatchOptions("token_tis");
  const LossOutput out = policy_loss(t.input(), t.denominator(), o);
  CHECK(std::isfinite(out.loss));
  for (float g : out.d_logprobs) CHECK(std::isfinite(g));
  CHECK(out.kl[1] <= 10.f);
}

TEST_CASE("clipping, dual clip and mismatch weights at chosen points") {
  Tokens t;
  t.answer = {0};
  t.answer_tokens = {1};
  t.logprobs = {-1.f};
  const auto at = [&](double rho, float a, PolicyLossOptions o, double w = 1) {
    t.old = {static_cast<float>(-1 - std::log(rho))};
    t.behavior = {static_cast<float>(t.old[0] - std::log(w))};
    t.advantages = {a};
    return policy_loss(t.input(), t.denominator(), o);
  };
  PolicyLossOptions o = plain();
  o.surrogate.set("clip_low", 0.2).set("clip_high", 0.28);
  CHECK(at(1.25, 1, o).d_logprobs[0] == doctest::Approx(-1.25));  // inside clip-higher
  CHECK(at(1.30, 1, o).d_logprobs[0] == 0.f);
  CHECK(at(1.30, 1, o).clipped_high[0] == 1);
  CHECK(at(0.75, -1, o).d_logprobs[0] == 0.f);
  CHECK(at(0.75, -1, o).clipped_low[0] == 1);
  CHECK(at(0.75, 1, o).d_logprobs[0] == doctest::Approx(-0.75));  // the pessimistic side keeps its gradient
  CHECK(at(6, -1, o).d_logprobs[0] == doctest::Approx(6));
  o.surrogate.set("dual_clip", 3);
  CHECK(at(6, -1, o).d_logprobs[0] == 0.f);
  CHECK(at(6, -1, o).loss == doctest::Approx(3));
  CHECK(at(2, -1, o).d_logprobs[0] == doctest::Approx(2));
  PolicyLossOptions r1 = plain();
  r1.surrogate.set("clip_low", 10).set("clip_high", 10);  // the ratio is clipped to [-9, 11]
  CHECK(at(0.01, -1, r1).d_logprobs[0] == doctest::Approx(0.01));
  CHECK(at(10.9, 1, r1).d_logprobs[0] == doctest::Approx(-10.9));
  CHECK(at(11.1, 1, r1).d_logprobs[0] == 0.f);

  PolicyLossOptions m = plain();
  m.mismatch = MismatchOptions("token_tis");
  CHECK(at(1, 1, m, 5).d_logprobs[0] == doctest::Approx(-2));
  CHECK(at(1, 1, m, 0.3).d_logprobs[0] == doctest::Approx(-0.3));
  m.mismatch = MismatchOptions("token_mis");  // [0.5, 2]
  CHECK(at(1, 1, m, 5).d_logprobs[0] == 0.f);
  CHECK(at(1, 1, m, 0.3).d_logprobs[0] == 0.f);
  CHECK(at(1, 1, m, 1.5).d_logprobs[0] == doctest::Approx(-1.5));
}

TEST_CASE("sequence weights multiply over the answer") {
  Tokens t = make_tokens({2, 1}, 0);
  t.old = t.logprobs;
  for (std::size_t i = 0; i < 3; ++i) t.behavior[i] = static_cast<float>(t.old[i] - std::log(1.3)), t.advantages[i] = 1;
  PolicyLossOptions o = plain();
  o.mismatch = MismatchOptions("sequence_tis");
  o.mismatch.cap = 10;
  const LossOutput tis = policy_loss(t.input(), t.denominator(), o);
  CHECK(tis.d_logprobs[0] == doctest::Approx(-1.69 / 3));
  CHECK(tis.d_logprobs[2] == doctest::Approx(-1.3 / 3));
  o.mismatch = MismatchOptions("sequence_mis");
  o.mismatch.cap = 1.5;
  const LossOutput mis = policy_loss(t.input(), t.denominator(), o);
  CHECK(mis.d_logprobs[0] == 0.f);
  CHECK(mis.d_logprobs[2] == doctest::Approx(-1.3 / 3));
}

TEST_CASE("the entropy bonus is a token mean whatever the aggregation") {
  const Tokens t = make_tokens({2, 3}, 0.1);
  for (Aggregation a : kAll) {
    PolicyLossOptions o = plain(a);
    o.entropy_coefficient = 0.5;
    for (float g : policy_loss(t.input(), t.denominator(4), o).d_entropies) CHECK(g == doctest::Approx(-0.5 / 5));
  }
}

TEST_CASE("unknown names list what is known") {
  CHECK_THROWS_WITH_AS(parse_aggregation("mean"), doctest::Contains("token_mean"), ConfigError);
  CHECK(parse_kl_estimator("k3+") == KlEstimator::kK3Plus);
  CHECK_THROWS_WITH_AS(find_mismatch_method("tis"), doctest::Contains("token_tis"), ConfigError);
  CHECK_THROWS_WITH_AS(find_surrogate("ppo"), doctest::Contains("cispo, clip, gmpo, ratio, sapo"), ConfigError);
  CHECK(parse_ratio_level("sequence_token") == RatioLevel::kSequenceToken);
}

}  // namespace r1
