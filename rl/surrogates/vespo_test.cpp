#include <fstream>
#include <nlohmann/json.hpp>

#include "rl/loss_test_support.h"

namespace r1 {
namespace {

TEST_CASE("VESPO: 1 on policy, fading on both sides, by the sign of the advantage; finite where an answer has drifted far") {
  const SurrogateChoice s("vespo");
  const auto phi = [](double w, double k, double lambda) { return std::pow(w, k) * std::exp(lambda * (1 - w)); };
  for (double w : {0.3, 1.0, 1.5, 4.0}) {
    CHECK(test::at_ratio(s, w, 2).slope == doctest::Approx(2 * phi(w, 2, 3)).epsilon(1e-5));
    CHECK(test::at_ratio(s, w, -2).slope == doctest::Approx(-2 * phi(w, 3, 2)).epsilon(1e-5));
  }
  CHECK(test::at_ratio(s, std::exp(30.0), 1).slope == 0);
  CHECK(test::at_ratio(s, std::exp(-30.0), 1).slope == doctest::Approx(0));
}

TEST_CASE("VESPO's loss and gradients equal TRL's") {
  const auto f = nlohmann::json::parse(std::ifstream(R1_SOURCE_DIR "/tests/golden/rl_objectives.json"));
  const auto& c = f["vespo"];
  test::Tokens t;
  std::vector<double> gradient;
  for (std::size_t r = 0; r < 4; ++r) {
    std::int64_t n = 0;
    for (std::size_t k = 0; k < f["mask"][r].size(); ++k) {
      if (f["mask"][r][k] == 0) continue;
      t.logprobs.push_back(f["logps"][r][k]), t.old.push_back(f["old_logps"][r][k]), t.advantages.push_back(f["advantages"][r]);
      t.answer.push_back(static_cast<std::int64_t>(r));
      gradient.push_back(c["gradient"][r][k]);
      ++n;
    }
    t.answer_tokens.push_back(n);
  }
  PolicyLossOptions o = test::plain();
  o.surrogate = SurrogateChoice("vespo");
  const LossOutput out = policy_loss(t.input(), t.denominator(), o);
  CHECK(std::abs(out.loss - c["loss"].get<double>()) <= 1e-6);
  for (std::size_t i = 0; i < gradient.size(); ++i) CHECK(std::abs(out.d_logprobs[i] - gradient[i]) <= 1e-6);
}

}  // namespace
}  // namespace r1
