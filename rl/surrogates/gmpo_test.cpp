#include "rl/loss_test_support.h"

namespace r1 {
namespace {

PolicyLossOptions gmpo(double low = 0.4, double high = 0.4) {
  PolicyLossOptions o = test::plain(Aggregation::kSeqMeanTokenMean);
  o.surrogate = SurrogateChoice("gmpo").set("clip_low", low).set("clip_high", high);
  return o;
}

TEST_CASE("GMPO: slopes inside and outside of its clip") {
  test::check_gradients(gmpo(), 0.2);  // nothing is clipped
  test::check_gradients(gmpo(0.1, 0.15), 0.6);
}

TEST_CASE("GMPO without its clip is GSPO without its: one geometric mean of ratios") {
  const test::Tokens t = test::make_tokens({3, 5, 2}, 0.3, 8);
  PolicyLossOptions gspo = test::plain(Aggregation::kSeqMeanTokenMean);
  gspo.surrogate = SurrogateChoice("ratio");
  gspo.ratio_level = RatioLevel::kSequence;
  const LossOutput a = policy_loss(t.input(), t.denominator(), gmpo(20, 20)), b = policy_loss(t.input(), t.denominator(), gspo);
  CHECK(a.loss == doctest::Approx(b.loss).epsilon(1e-12));
  for (std::size_t i = 0; i < t.logprobs.size(); ++i) CHECK(a.d_logprobs[i] == doctest::Approx(b.d_logprobs[i]).epsilon(1e-6));
}

TEST_CASE("GMPO clips the side that the advantage's sign makes harmful, in log space") {
  const SurrogateChoice s("gmpo");
  CHECK(test::at_ratio(s, std::exp(0.5), 1).value == doctest::Approx(std::exp(0.4)));
  CHECK(test::at_ratio(s, std::exp(0.5), 1).slope == 0);
  CHECK(test::at_ratio(s, std::exp(0.5), 1).high);
  CHECK(test::at_ratio(s, std::exp(-0.5), 1).slope == doctest::Approx(std::exp(-0.5)));  // a good token that became rare still learns
  CHECK(test::at_ratio(s, std::exp(-0.5), -1).slope == 0);
  CHECK(test::at_ratio(s, std::exp(-0.5), -1).low);
  CHECK(test::at_ratio(s, std::exp(0.5), -1).slope == doctest::Approx(-std::exp(0.5)));
}

}  // namespace
}  // namespace r1
