#include "core/error.h"
#include "rl/loss_test_support.h"

namespace r1 {
namespace {

TEST_CASE("clip and ratio: slopes at both levels of the ratio") {
  for (const char* name : {"clip", "ratio"})
    for (RatioLevel level : {RatioLevel::kToken, RatioLevel::kSequence}) {
      CAPTURE(name);
      PolicyLossOptions o = test::plain();
      o.surrogate = SurrogateChoice(name);
      o.ratio_level = level;
      test::check_gradients(o, 0.5);
    }
}

TEST_CASE("CISPO's gradient is the capped ratio times the advantage, a constant weight on ln pi") {
  const SurrogateChoice s = SurrogateChoice("cispo").set("cispo_ratio_cap", 1.5);
  CHECK(test::at_ratio(s, 1.2, 2).slope == doctest::Approx(2.4));
  CHECK(test::at_ratio(s, 4, 2).slope == doctest::Approx(3));
  CHECK(test::at_ratio(s, 4, 2).high);
  CHECK(test::at_ratio(s, 4, -2).slope == doctest::Approx(-3));
}

TEST_CASE("two-sided clip: for A < 0 the ratio counts as at most delta") {
  const SurrogateChoice s = SurrogateChoice("clip").set("clip_low", 0.2).set("clip_high", 0.2).set("dual_clip", 4);
  CHECK(test::at_ratio(s, 3.9, -1).slope == doctest::Approx(-3.9));
  CHECK(test::at_ratio(s, 4.1, -1).slope == 0);
  CHECK(test::at_ratio(s, 4.1, -1).value == doctest::Approx(-4));
  CHECK(test::at_ratio(s, 4.1, 1).value == doctest::Approx(1.2));
}

TEST_CASE("a surrogate's options: known keys, limits, defaults") {
  CHECK(SurrogateChoice("clip").get("clip_high") == 0.28);
  CHECK(SurrogateChoice("gmpo").get("clip_high") == 0.4);  // a key may be shared, its default not
  CHECK_THROWS_WITH_AS(SurrogateChoice("ratio").get("clip_low"), doctest::Contains("no option of surrogate ratio"), ConfigError);
  CHECK_THROWS_WITH_AS(SurrogateChoice("sapo").set("sapo_tau_pos", 0), doctest::Contains("rl.sapo_tau_pos is 0"), ConfigError);
  for (const Surrogate* s : surrogates()) {
    CAPTURE(s->name);
    CHECK((s->token != nullptr) != (s->answer != nullptr));
    CHECK(&find_surrogate(s->name) == s);
    CHECK(s->source.size() > 0);
  }
}

}  // namespace
}  // namespace r1
