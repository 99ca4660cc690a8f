#include "rl/loss_test_support.h"

namespace r1 {
namespace {

TEST_CASE("SAPO: slopes; steepest at ratio 1, fading on both sides, faster for negative advantages") {
  PolicyLossOptions o = test::plain();
  o.surrogate = SurrogateChoice("sapo");
  test::check_gradients(o, 0.7);
  o.surrogate.set("sapo_tau_pos", 3).set("sapo_tau_neg", 8);
  o.ratio_level = RatioLevel::kSequence;
  test::check_gradients(o, 0.7);

  const SurrogateChoice s("sapo");
  CHECK(test::at_ratio(s, 1, 1).value == doctest::Approx(2));  // sigmoid(0) 4 / tau
  // slope in ln pi = rho * d value / d rho; at 3 the gate's derivative is 4 p (1 - p) with p = sigmoid(2 tau).
  const auto gate = [](double tau) { return 1 / (1 + std::exp(-2 * tau)); };
  CHECK(test::at_ratio(s, 3, 1).slope == doctest::Approx(3 * 4 * gate(1) * (1 - gate(1))));
  CHECK(test::at_ratio(s, 3, -1).slope == doctest::Approx(-3 * 4 * gate(1.05) * (1 - gate(1.05))));
}

}  // namespace
}  // namespace r1
