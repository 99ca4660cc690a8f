// The other objectives against TRL's own code and against the published formulas in PyTorch: tests/golden/rl_objectives.py.
#include <doctest/doctest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "rl/advantage.h"
#include "rl/gae.h"
#include "rl/loss_test_support.h"
#include "rl/token_advantages.h"
#include "rl/token_selection.h"

namespace r1 {
namespace {

using nlohmann::json;
using test::Tokens;

const json& fixture() {
  static const json f = json::parse(std::ifstream(R1_SOURCE_DIR "/tests/golden/rl_objectives.json"));
  return f;
}

// [rows][columns] of the fixture -> trained tokens in order.
std::vector<float> flat(const json& rows) {
  std::vector<float> out;
  const json& mask = fixture()["mask"];
  for (std::size_t r = 0; r < mask.size(); ++r)
    for (std::size_t c = 0; c < mask[r].size(); ++c)
      if (mask[r][c] != 0) out.push_back(rows[r][c].get<float>());
  return out;
}

Tokens tokens_of_fixture() {
  const json& f = fixture();
  Tokens t;
  t.logprobs = flat(f["logps"]), t.old = flat(f["old_logps"]), t.entropies = flat(f["entropies"]);
  t.behavior = flat(f["behavior_logps"]), t.ref = flat(f["ref_logps"]);
  for (std::size_t r = 0; r < f["mask"].size(); ++r) {
    std::int64_t n = 0;
    for (const json& m : f["mask"][r]) n += m.get<int>();
    t.answer_tokens.push_back(n);
    t.answer.insert(t.answer.end(), static_cast<std::size_t>(n), static_cast<std::int64_t>(r));
    t.advantages.insert(t.advantages.end(), static_cast<std::size_t>(n), f["advantages"][r].get<float>());
  }
  return t;
}

void check_case(const json& c, const LossOutput& out) {
  CHECK(std::abs(out.loss - c["loss"].get<double>()) <= 1e-6);
  const std::vector<float> gradient = flat(c["gradient"]);
  double worst = 0, size = 0;
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    worst = std::max(worst, std::abs(double{out.d_logprobs[i]} - gradient[i]));
    size = std::max(size, std::abs(double{gradient[i]}));
  }
  CHECK(worst <= 1e-6);
  CHECK(size > 1e-3);
}

}  // namespace

TEST_CASE("SAPO, the off-policy mask, high-entropy tokens and the two-sided clip equal TRL's") {
  CHECK(fixture()["trl"].size() == 5);
  for (const json& c : fixture()["trl"]) {
    CAPTURE(c["loss_type"]);
    CAPTURE(c["options"].dump());
    const json& more = c["options"];
    Tokens t = tokens_of_fixture();
    PolicyLossOptions o = test::plain(c["loss_type"] == "dapo" ? Aggregation::kTokenMean : Aggregation::kSeqMeanTokenMean);
    if (c["loss_type"] == "sapo")
      o.surrogate = SurrogateChoice("sapo")
                        .set("sapo_tau_pos", more.value("sapo_temperature_pos", 1.0))
                        .set("sapo_tau_neg", more.value("sapo_temperature_neg", 1.05));
    else
      o.surrogate.set("clip_low", more.value("epsilon", 0.2)).set("clip_high", more.value("epsilon", 0.2)).set("dual_clip", more.value("delta", 0.0));
    o.off_policy_mask_threshold = more.value("off_policy_mask_threshold", 0.0);
    if (more.contains("top_entropy_quantile")) {
      TokenSelectionOptions s;
      s.top_entropy_quantile = more["top_entropy_quantile"];
      const TokenSelection chosen = select_tokens({t.logprobs, t.entropies, t.advantages, {}}, s, 0, 0);
      t.policy_weights = chosen.policy_weights;
      CHECK(chosen.low_entropy > 0);
    }
    const LossOutput out = policy_loss(t.input(), t.denominator(fixture()["max_completion_length"]), o);
    if (o.off_policy_mask_threshold > 0) CHECK(out.masked_answers == 1);  // of two with a negative advantage
    check_case(c, out);
  }
}

TEST_CASE("GMPO, GSPO-token, covariance control and every mismatch correction equal the published formulas") {
  int mismatches = 0;
  for (const json& c : fixture()["formulas"]) {
    CAPTURE(c["name"]);
    CAPTURE(c["options"].dump());
    const json& more = c["options"];
    const std::string name = c["name"];
    Tokens t = tokens_of_fixture();
    PolicyLossOptions o = test::plain();
    LossDenominator d = t.denominator();
    if (name == "gmpo" || name == "gspo_token") {
      o.surrogate = SurrogateChoice(name == "gmpo" ? "gmpo" : "clip").set("clip_low", more["low"]).set("clip_high", more["high"]);
      o.aggregation = Aggregation::kSeqMeanTokenMean;
      o.ratio_level = RatioLevel::kSequenceToken;  // GMPO has a ratio of its own
    } else if (name == "clip_cov" || name == "kl_cov") {
      TokenSelectionOptions s;
      std::vector<std::uint8_t> clipped;
      if (name == "clip_cov") {
        o.surrogate.set("clip_low", more["low"]).set("clip_high", more["high"]);
        s.covariance = CovarianceControl::kClipCov;
        s.covariance_share = 1, s.covariance_low = more["cov_low"], s.covariance_high = more["cov_high"];
        const LossOutput before = policy_loss(t.input(), d, o);
        for (std::size_t i = 0; i < t.logprobs.size(); ++i) clipped.push_back(before.clipped_low[i] | before.clipped_high[i]);
      } else {
        o.surrogate = SurrogateChoice("ratio");
        s.covariance = CovarianceControl::kKlCov;
        s.covariance_share = more["share"], s.covariance_penalty = more["penalty"];
      }
      const TokenSelection chosen = select_tokens({t.logprobs, {}, t.advantages, clipped}, s, 1, 2);
      CHECK(chosen.covariance == c["chosen"]);
      CHECK(chosen.covariance > 1);
      t.policy_weights = chosen.policy_weights, t.drift_penalties = chosen.drift_penalties;
    } else {
      ++mismatches;
      o.surrogate.set("clip_high", 0.2);
      o.mismatch = MismatchOptions(more["method"].get<std::string>());
      o.mismatch.floor = more["floor"], o.mismatch.cap = more["cap"], o.mismatch.normalize = more["normalize"];
      MismatchMean mean;
      std::size_t begin = 0;
      for (std::int64_t n : t.answer_tokens) {
        std::vector<double> log_w;
        for (std::int64_t k = 0; k < n; ++k, ++begin) log_w.push_back(double{t.old[begin]} - t.behavior[begin]);
        mean.add(log_w, o.mismatch);
      }
      if (o.mismatch.normalize) d.mismatch_mean = mean.mean(o.mismatch);
    }
    check_case(c, policy_loss(t.input(), d, o));
  }
  CHECK(mismatches == 16);
}

TEST_CASE("PPO: GAE, whitening and the value loss equal the published formulas") {
  const json& p = fixture()["ppo"];
  const Tokens t = tokens_of_fixture();
  const std::vector<float> values = flat(p["values"]), want_a = flat(p["advantages"]), want_returns = flat(p["returns"]);
  std::vector<TrainSample> samples;
  std::vector<float> returns;
  std::size_t at = 0;
  for (std::int64_t length : t.answer_tokens) {
    const auto n = static_cast<std::size_t>(length);
    std::vector<double> rewards, v;
    for (std::size_t k = 0; k < n; ++k) {
      rewards.push_back(-p["beta"].get<double>() * (double{t.old[at + k]} - t.ref[at + k]));
      v.push_back(values[at + k]);
    }
    rewards.back() += t.advantages[at];
    const GaeResult g = gae(rewards, v, p["gamma"], p["lambda"]);
    TrainSample s;
    s.tokens.assign(n, 0), s.loss_mask.assign(n, 1);
    for (std::size_t k = 0; k < n; ++k, ++at) {
      CHECK(g.advantages[k] == doctest::Approx(want_a[at]).epsilon(1e-5));
      CHECK(g.returns[k] == doctest::Approx(want_returns[at]).epsilon(1e-5));
      s.advantages.push_back(static_cast<float>(g.advantages[k]));
      returns.push_back(static_cast<float>(g.returns[k]));
    }
    samples.push_back(std::move(s));
  }
  whiten_advantages(samples, 1e-6);
  const std::vector<float> white = flat(p["whitened"]), gradient = flat(p["gradient"]);
  at = 0;
  for (const TrainSample& s : samples)
    for (float a : s.advantages) CHECK(a == doctest::Approx(white[at++]).epsilon(1e-4));
  const ValueLossOutput loss = value_loss(flat(p["values_now"]), values, returns, p["clip"], static_cast<std::int64_t>(returns.size()));
  CHECK(loss.loss == doctest::Approx(p["loss"].get<double>()).epsilon(1e-5));
  CHECK(loss.clipped > 0);
  for (std::size_t i = 0; i < gradient.size(); ++i) CHECK(loss.d_values[i] == doctest::Approx(gradient[i]).epsilon(1e-4));
}

TEST_CASE("GDPO's and the process advantages equal the published formulas") {
  const json& g = fixture()["gdpo"];
  std::vector<ScoredGroup> groups(2);
  AdvantageOptions o{AdvantageKind::kGdpo, g["epsilon"]};
  for (std::size_t i = 0; i < 6; ++i) {
    Score s;
    for (std::size_t k = 0; k < 3; ++k) {
      const std::string label(1, static_cast<char>('a' + k));
      o.weights[label] = g["weights"][k];
      if (!g["rewards"][i][k].is_null()) s.parts[label] = g["rewards"][i][k];
    }
    Completion c;
    c.stop = StopReason::kEos;
    groups[i / 3].group.completions.push_back(c);
    groups[i / 3].scores.push_back(s);
  }
  const std::vector<const ScoredGroup*> pointers = {&groups[0], &groups[1]};
  for (bool normalize : {true, false}) {
    o.batch_normalize = normalize;
    const Advantages a = gdpo_advantages(pointers, o);
    for (std::size_t i = 0; i < 6; ++i)
      CHECK(a.values[i / 3][i % 3] == doctest::Approx(g[normalize ? "advantages" : "sums"][i].get<double>()).epsilon(1e-5));
  }

  const json& p = fixture()["process"];
  std::vector<std::vector<StepReward>> steps(3);
  for (std::size_t i = 0; i < 3; ++i)
    for (const json& step : p["steps"][i]) steps[i].push_back({step[0], step[1]});
  const auto a = process_advantages(steps, p["lengths"].get<std::vector<std::size_t>>(), p["epsilon"]);
  for (std::size_t i = 0; i < 3; ++i) {
    REQUIRE(a[i].size() == p["advantages"][i].size());
    for (std::size_t t = 0; t < a[i].size(); ++t) CHECK(a[i][t] == doctest::Approx(p["advantages"][i][t].get<double>()).epsilon(1e-5));
  }
}

}  // namespace r1
