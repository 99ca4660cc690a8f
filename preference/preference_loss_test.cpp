#include "preference/preference_loss.h"

#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <functional>

#include <nlohmann/json.hpp>

#include "core/error.h"

namespace r1 {
namespace {

using nlohmann::json;
using Values = std::vector<double>;

json fixture() { return json::parse(std::ifstream(R1_SOURCE_DIR "/tests/golden/trl_preference.json")); }

void check_near(const Values& got, const Values& wanted, double bound) {
  REQUIRE(got.size() == wanted.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    CAPTURE(i);
    CHECK(std::abs(got[i] - wanted[i]) <= bound);
  }
}

double mean(const Values& v) {
  double sum = 0;
  for (double x : v) sum += x;
  return sum / static_cast<double>(v.size());
}

// Six values, chosen answers first.
struct Halves {
  explicit Halves(const json& values) : all(values.get<Values>()), chosen(all.begin(), all.begin() + 3), rejected(all.begin() + 3, all.end()) {}
  Values all, chosen, rejected;
};

Values joined(const PairLoss& loss) {
  Values out = loss.d_chosen;
  out.insert(out.end(), loss.d_rejected.begin(), loss.d_rejected.end());
  return out;
}

double slope(const std::function<double(double)>& f, double x) {
  const double h = 1e-5;
  return (f(x + h) - f(x - h)) / (2 * h);
}

}  // namespace

TEST_CASE("DPO: loss, gradient and metrics equal TRL's for every form") {
  const json f = fixture()["dpo"];
  const Halves logps(f["logps"]), ref(f["ref"]);
  const auto tokens = f["tokens"].get<std::vector<std::int64_t>>();
  REQUIRE(f["cases"].size() == 5);
  for (const json& c : f["cases"]) {
    CAPTURE(c.dump());
    DpoOptions o;
    o.beta = c["beta"];
    o.kind = parse_dpo_loss(c.value("loss_type", "sigmoid"));
    const DpoOutput out =
        dpo_loss({logps.chosen, logps.rejected, ref.chosen, ref.rejected, std::span(tokens).first(3), std::span(tokens).last(3)}, o, 3);
    CHECK(std::abs(out.loss - c["loss"].get<double>()) <= 2e-6 * std::max(1.0, std::abs(out.loss)));
    check_near(joined(out), c["gradient"], 2e-6);
    const json& m = c["metrics"];
    CHECK(std::abs(mean(out.reward_chosen) - m["rewards/chosen"].get<double>()) <= 1e-6);
    CHECK(std::abs(mean(out.reward_rejected) - m["rewards/rejected"].get<double>()) <= 1e-6);
    CHECK(std::abs(mean(logps.chosen) - m["logps/chosen"].get<double>()) <= 1e-5);
  }
}

TEST_CASE("DPO at the reference is ln 2, with the slope of a coin; hinge and label smoothing") {
  const Values lp = {-3, -8}, other = {-1, -20};
  const std::vector<std::int64_t> tokens = {4, 9};
  const DpoInput same{lp, other, lp, other, tokens, tokens};
  const DpoOutput at_reference = dpo_loss(same, {}, 2);
  CHECK(at_reference.loss == doctest::Approx(std::log(2)).epsilon(1e-15));
  for (int i : {0, 1}) {
    CHECK(at_reference.d_chosen[i] == doctest::Approx(-0.1 / 4).epsilon(1e-15));  // beta / 2 over two pairs
    CHECK(at_reference.d_rejected[i] == doctest::Approx(0.1 / 4).epsilon(1e-15));
    CHECK(at_reference.reward_chosen[i] == 0);
  }
  DpoOptions smooth;
  smooth.label_smoothing = 0.2;
  const Values ref = {-2, -11}, ref_other = {-4, -15};
  const auto loss = [&](double x) {
    const Values moved = {x, -8};
    return dpo_loss({moved, other, ref, ref_other, tokens, tokens}, smooth, 2).loss;
  };
  CHECK(dpo_loss({lp, other, ref, ref_other, tokens, tokens}, smooth, 2).d_chosen[0] == doctest::Approx(slope(loss, -3)).epsilon(1e-8));
  DpoOptions hinge{DpoLoss::kHinge, 1.0, 0};
  const Values good = {0}, bad = {-5}, zero = {0};
  const std::vector<std::int64_t> one = {1};
  CHECK(dpo_loss({good, bad, zero, zero, one, one}, hinge, 1).loss == 0);  // the margin is beyond 1
  CHECK(dpo_loss({good, bad, zero, zero, one, one}, hinge, 1).d_chosen[0] == 0);
  CHECK_THROWS_WITH_AS(parse_dpo_loss("kto"), doctest::Contains("sigmoid, hinge, ipo"), ConfigError);
}

TEST_CASE("reward models: Bradley-Terry with centring equals TRL's, pointwise equals torch's cross-entropy") {
  const json f = fixture()["reward"];
  const Halves scores(f["scores"]);
  REQUIRE(f["cases"].size() == 3);
  for (const json& c : f["cases"]) {
    CAPTURE(c.dump());
    const PairLoss out = bradley_terry_loss(scores.chosen, scores.rejected, c["centring"], 3);
    CHECK(std::abs(out.loss - c["loss"].get<double>()) <= 1e-6);
    check_near(joined(out), c["gradient"], 1e-6);
  }
  const PointLoss point = pointwise_loss(scores.all, f["pointwise"]["labels"].get<Values>(), 6);
  CHECK(std::abs(point.loss - f["pointwise"]["loss"].get<double>()) <= 1e-6);
  check_near(point.d_scores, f["pointwise"]["gradient"], 1e-6);
}

TEST_CASE("Bradley-Terry with equal scores is ln 2; micro-batches add up; scores of any size stay finite") {
  const Values s = {0.3, -7}, t = {1, 2, 3}, u = {0, 5, 2};
  CHECK(bradley_terry_loss(s, s, 0, 2).loss == doctest::Approx(std::log(2)).epsilon(1e-15));
  const PairLoss whole = bradley_terry_loss(t, u, 0.01, 3);
  const PairLoss first = bradley_terry_loss(std::span(t).first(1), std::span(u).first(1), 0.01, 3);
  const PairLoss rest = bradley_terry_loss(std::span(t).last(2), std::span(u).last(2), 0.01, 3);
  CHECK(first.loss + rest.loss == doctest::Approx(whole.loss).epsilon(1e-15));
  CHECK(rest.d_rejected[1] == whole.d_rejected[2]);
  const Values far = {1e6}, low = {-1e6}, label = {1};
  CHECK(bradley_terry_loss(far, low, 0, 1).loss == 0);
  CHECK(bradley_terry_loss(low, far, 0, 1).loss == 2e6);
  CHECK(pointwise_loss(low, label, 1).loss == 1e6);
  CHECK(pointwise_loss(low, label, 1).d_scores[0] == -1);
}

}  // namespace r1
