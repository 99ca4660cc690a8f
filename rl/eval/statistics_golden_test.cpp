// The statistics of evaluations against independent code (tests/golden/eval_statistics.py: scipy, numpy, counting) and
// closed forms.
#include <doctest/doctest.h>

#include <cmath>
#include <fstream>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/rng.h"
#include "rl/eval/elo.h"
#include "rl/eval/paired.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

using Json = nlohmann::json;

const Json& golden() {
  static const Json kAll = [] {
    std::ifstream in(std::string(R1_SOURCE_DIR) + "/tests/golden/eval_statistics.json");
    REQUIRE(in.good());
    return Json::parse(in);
  }();
  return kAll;
}
std::vector<double> doubles(const Json& list) { return list.get<std::vector<double>>(); }
doctest::Approx near(const Json& value, double epsilon) { return doctest::Approx(value.get<double>()).epsilon(epsilon); }

TEST_CASE("pass@k is the share of k-subsets with a right sample") {
  for (const Json& c : golden()["pass_at_k"]) CHECK(pass_at_k(c["n"], c["c"], c["k"]) == near(c["value"], 1e-12));
}

TEST_CASE("McNemar and Wilson equal scipy's") {
  for (const Json& c : golden()["mcnemar"]) CHECK(mcnemar_exact(c["only_a"], c["only_b"]) == near(c["p"], 1e-10));
  for (const Json& c : golden()["wilson"]) {
    const Interval i = wilson_interval(c["successes"], c["n"]);
    CHECK(i.low == doctest::Approx(c["low"].get<double>()).epsilon(1e-9).scale(1e-3));
    CHECK(i.high == near(c["high"], 1e-9));
  }
}

TEST_CASE("the permutation test: every sign pattern for few items, close to scipy's for many") {
  for (const Json& c : golden()["permutation"]) {
    const PermutationTest t = permutation_test(doubles(c["differences"]), 0);
    CHECK(t.exact == c["exact"].get<bool>());
    if (t.exact) CHECK(t.p == near(c["p"], 1e-12));
    else CHECK(std::abs(t.p - c["p"].get<double>()) < 0.003);  // four standard errors of 20,000 draws at p = 0.01
  }
  // Closed form: n equal differences leave two extreme patterns of 2^n.
  CHECK(permutation_test(std::vector<double>(10, 0.5), 0).p == doctest::Approx(2.0 / 1024));
  CHECK(permutation_test(std::vector<double>(50, 0.0), 0).p == 1.0);
  CHECK(permutation_test(std::vector<double>(100, 0.1), 0).p == doctest::Approx(1.0 / 20'001));
  // Rounding of sums must not lose ties: 0.1 + 0.2 and 0.3 are the same mean.
  CHECK(permutation_test(std::vector<double>{0.1, 0.2, -0.3}, 0).p == 1.0);
}

TEST_CASE("standard errors: the definitions, and the real spread of repeated sampling") {
  const Json& e = golden()["errors"];
  const auto right = e["right"].get<std::vector<std::int64_t>>();
  const std::vector<std::int64_t> samples(right.size(), e["samples"].get<std::int64_t>());
  std::vector<double> shares;
  for (std::size_t i = 0; i < right.size(); ++i) shares.push_back(static_cast<double>(right[i]) / static_cast<double>(samples[i]));
  CHECK(standard_error(shares) == near(e["standard_error"], 1e-12));
  CHECK(sampling_standard_error(right, samples) == near(e["sampling_error"], 1e-12));
  // Unbiased: the mean of its square over many draws is the variance of pass@1 for these items.
  const std::vector<double> p = doubles(e["probabilities"]);
  StreamRng rng(1, 2);
  double squares = 0;
  constexpr int kDraws = 2000;
  for (int d = 0; d < kDraws; ++d) {
    std::vector<std::int64_t> again;
    for (const double chance : p) {
      std::int64_t c = 0;
      for (int i = 0; i < samples[0]; ++i) c += rng.uniform() < chance;
      again.push_back(c);
    }
    const double se = sampling_standard_error(again, samples);
    squares += se * se;
  }
  CHECK(std::sqrt(squares / kDraws) == near(e["true_spread"], 0.02));
  CHECK(std::isnan(sampling_standard_error(std::vector<std::int64_t>{1}, std::vector<std::int64_t>{1})));
  CHECK(std::isnan(standard_error(std::vector<double>{1})));
}

TEST_CASE("the golden paired test: two models, 120 items, 4 samples each") {
  const Json& g = golden()["paired"];
  const PairedComparison t = compare_paired(doubles(g["a"]), doubles(g["b"]), 0);
  CHECK(t.items == 120);
  CHECK(t.difference == near(g["difference"], 1e-12));
  CHECK(t.standard_error == near(g["standard_error"], 1e-12));
  CHECK(t.correlation == near(g["correlation"], 1e-12));
  CHECK(t.smallest_detectable == near(g["smallest_detectable"], 1e-9));
  CHECK(std::abs(t.permutation.p - g["p"].get<double>()) < 0.006);
  // Two bootstraps of 2,000 and 20,000 resamples: their ends differ by a few hundredths of the interval.
  CHECK(std::abs(t.interval.low - g["low"].get<double>()) < 0.006);
  CHECK(std::abs(t.interval.high - g["high"].get<double>()) < 0.006);
  CHECK(t.only_a == -1);
  CHECK(std::isnan(t.mcnemar_p));
  const Json& h = golden()["paired_greedy"];
  const PairedComparison greedy = compare_paired(doubles(h["a"]), doubles(h["b"]), 0);
  CHECK(greedy.only_a == h["only_a"].get<std::int64_t>());
  CHECK(greedy.only_b == h["only_b"].get<std::int64_t>());
  CHECK(greedy.mcnemar_p == near(h["p"], 1e-9));
  // Swapping the models turns the sign and nothing else.
  const PairedComparison swapped = compare_paired(doubles(g["b"]), doubles(g["a"]), 0);
  CHECK(swapped.difference == -t.difference);
  CHECK(swapped.permutation.p == t.permutation.p);
  CHECK_THROWS_AS(compare_paired(std::vector<double>{1}, std::vector<double>{1, 0}, 0), DataError);
  CHECK_THROWS_AS(compare_paired({}, {}, 0), DataError);
}

TEST_CASE("a difference of the smallest detectable size is found in four runs of five") {
  // Differences with a known spread: N(delta, 1) over 100 items, se = 0.1.
  const double delta = smallest_detectable(0.1);
  CHECK(delta == doctest::Approx(0.28016).epsilon(1e-4));
  CHECK(smallest_detectable_unpaired(0.1) == doctest::Approx(delta * std::sqrt(2.0)));
  StreamRng rng(3, 4);
  int found = 0;
  constexpr int kRuns = 4000;
  for (int run = 0; run < kRuns; ++run) {
    double sum = 0;
    for (int i = 0; i < 100; ++i) sum += delta + std::sqrt(-2 * std::log(rng.uniform())) * std::cos(6.283185307179586 * rng.uniform());
    found += std::abs(sum / 100) / 0.1 > 1.959963984540054;
  }
  CHECK(std::abs(found / static_cast<double>(kRuns) - 0.8) < 0.02);
}

TEST_CASE("Elo: the optimiser's maximum and curvature; closed forms; simulated contests") {
  const Json& g = golden()["elo"];
  std::vector<EloGame> games;
  for (const Json& one : g["games"]) games.push_back({one[0], one[1], one[2]});
  const EloRating r = elo_rating(games, 0);
  CHECK(r.rating == near(g["rating"], 1e-7));
  CHECK(r.standard_error == near(g["standard_error"], 1e-3));
  CHECK(r.contests == 2);
  CHECK(r.interval.low <= r.rating);
  CHECK(r.interval.high >= r.rating);
  // Against one opponent: the odds. A tie is the opponent's rating.
  CHECK(elo_rating(std::vector<EloGame>{{1500, 0.75, 0}}, 0).rating == doctest::Approx(1500 + 400 * std::log10(3.0)));
  CHECK(elo_rating(std::vector<EloGame>{{1500, 0.5, 0}}, 0).rating == doctest::Approx(1500));
  CHECK(elo_expected(1900, 1500) == doctest::Approx(10.0 / 11));
  CHECK(std::isinf(elo_rating(std::vector<EloGame>{{1500, 1, 0}, {1600, 1, 0}}, 0).rating));
  CHECK(elo_rating(std::vector<EloGame>{{1500, 0, 0}}, 0).rating < 0);
  CHECK_THROWS_AS(elo_rating({}, 0), DataError);
  CHECK_THROWS_AS(elo_rating(std::vector<EloGame>{{1500, 1.5, 0}}, 0), DataError);

  // Players of known strength, contests of 60: the estimate is unbiased, and its interval over contests covers the truth
  // about as often as it says.
  StreamRng rng(5, 6);
  constexpr int kRuns = 25;
  int covered = 0;
  double sum = 0;
  for (int run = 0; run < kRuns; ++run) {
    std::vector<EloGame> simulated;
    for (std::size_t contest = 0; contest < 12; ++contest) {
      // A day's form moves all games of a contest together.
      const double form = 1800 + 100 * std::sqrt(-2 * std::log(rng.uniform())) * std::cos(6.283185307179586 * rng.uniform());
      for (int i = 0; i < 60; ++i) {
        const double opponent = 1200 + 1000 * rng.uniform();
        simulated.push_back({opponent, rng.uniform() < elo_expected(form, opponent) ? 1.0 : 0.0, contest});
      }
    }
    const EloRating e = elo_rating(simulated, static_cast<std::uint64_t>(run));
    sum += e.rating;
    covered += e.interval.low <= 1800 && 1800 <= e.interval.high;
    CHECK(e.standard_error < (e.interval.high - e.interval.low) / 2);  // independence would be too sure of itself
  }
  CHECK(std::abs(sum / kRuns - 1800) < 25);
  CHECK(covered >= kRuns * 0.8);
}

TEST_CASE("contest files: places, standings, problems, and what is wrong with a row") {
  const test::TempDir dir;
  const auto write = [&](const std::string& text) {
    std::ofstream(dir / "c.jsonl") << text;
    return dir / "c.jsonl";
  };
  // Codeforces' own definition: the performance is the rating whose expected place is the place reached.
  std::string ratings;
  for (int i = 0; i < 50; ++i) ratings += (i ? "," : "") + std::to_string(1000 + 20 * i);
  const double r = elo_rating(read_contests(write("{\"contest\":1,\"ratings\":[" + ratings + "],\"rank\":11}\n")), 0).rating;
  double place = 1;
  for (int i = 0; i < 50; ++i) place += 1 - elo_expected(r, 1000 + 20 * i);
  CHECK(place == doctest::Approx(11));
  // The same place by standings: ten did better, by points or by penalty; one tied.
  std::string standings;
  for (int i = 0; i < 50; ++i)
    standings += message(i ? "," : "", "{\"rating\":", 1000 + 20 * i, ",\"points\":", i < 5 ? 7 : 5, ",\"penalty\":", i < 10 ? 10 : 90, "}");
  CHECK(elo_rating(read_contests(write("{\"contest\":1,\"standings\":[" + standings + "],\"points\":5,\"penalty\":50}")), 0).rating ==
        doctest::Approx(r));
  const auto tied = read_contests(write(R"({"standings": [{"rating": 1500, "points": 3}], "points": 3})"));
  CHECK(tied[0].score == 0.5);
  const auto beside = read_contests(write(R"({"ratings": [1500, 1600, 1700], "rank": 2, "tied": 1})"));
  CHECK(beside[0].score == 0.5);  // one ahead, one beside, one behind
  const auto problems =
      read_contests(write("{\"contest\":\"a\",\"problem_rating\":1200,\"solved\":true}\n{\"contest\":\"a\",\"problem_rating\":1800,\"solved\":0.25}\n"
                          "{\"problem_rating\":900,\"solved\":false}\n"));
  REQUIRE(problems.size() == 3);
  CHECK(problems[1].score == 0.25);
  CHECK(problems[0].contest == problems[1].contest);
  CHECK(problems[2].contest != problems[1].contest);
  for (const auto& [row, what] : {std::pair<const char*, const char*>{R"({"ratings": [1500], "rank": 3})", "rank 3"},
                                  {R"({"ratings": [], "rank": 1})", "list of the other"},
                                  {R"({"standings": [{"points": 1}], "points": 2})", "'rating' must be a number"},
                                  {R"({"problem_rating": 5, "solved": 2})", "from 0 to 1"},
                                  {R"({"x": 1})", "a row needs"}}) {
    try {
      read_contests(write(row));
      FAIL(row);
    } catch (const DataError& e) {
      CHECK_MESSAGE(std::string(e.what()).find(what) != std::string::npos, e.what());
      CHECK(std::string(e.what()).find("c.jsonl:1") != std::string::npos);
    }
  }
}

}  // namespace
}  // namespace r1
