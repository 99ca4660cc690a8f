// What exact algebra proves. The same pairs are equal, but not proved, in a build without Calcium.
#include "rewards/math/proof.h"

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include "core/error.h"
#include "rewards/math/check.h"

namespace r1::math {
namespace {

Verdict prove(const std::string& gold, const std::string& answer) {
  CheckOptions options;
  options.prove = true;
  return check(gold, answer, options);
}

const std::vector<std::pair<const char*, const char*>> kEqual = {
    {"\\sqrt{5+2\\sqrt6}", "\\sqrt2+\\sqrt3"}, {"e^{i\\pi}+1", "0"}, {"\\cos\\frac{\\pi}{12}", "\\frac{\\sqrt6+\\sqrt2}{4}"},
    {"\\ln 15", "\\ln 3+\\ln 5"}, {"\\sqrt[3]{-8\\cdot 2}", "-2\\sqrt[3]{2}"}, {"\\frac{1}{1+\\sqrt2}", "\\sqrt2-1"},
    {"\\log_4 8\\cdot\\sqrt2", "\\frac{3}{\\sqrt2}"}, {"\\sin 15^\\circ", "\\frac{\\sqrt6-\\sqrt2}{4}"}, {"4\\arctan 1", "\\pi"},
    {"(x+1)^2", "x^2+2x+1"}, {"\\frac{x^2-1}{x-1}", "x+1"}, {"\\frac{n(n+1)}{2}", "\\frac{n^2+n}{2}"},
    {"(a+b)^3-a^3-b^3", "3ab(a+b)"}, {"\\frac1x-\\frac1y", "\\frac{y-x}{xy}"}, {"1\\pm\\sqrt8", "1\\pm2\\sqrt2"},
    {"\\{\\sqrt8, 1\\}", "\\{1, 2\\sqrt2\\}"}, {"(\\sqrt8, x+x)", "(2\\sqrt2, 2x)"}};

TEST_CASE("proofs: equalities of numbers and rational functions") {
  for (const auto& [gold, answer] : kEqual) {
    CAPTURE(std::string(gold));
    const Verdict v = prove(gold, answer);
    CHECK(v.outcome == Outcome::kEqual);
    CHECK(v.proved == can_prove());
    CHECK_FALSE(check(gold, answer).proved);  // nobody asked
  }
}

TEST_CASE("proofs: what balls cannot tell apart, exact algebra does") {
  const std::string near = "\\sqrt{2}+10^{-50}";
  CHECK(prove("\\sqrt2", near).outcome == (can_prove() ? Outcome::kDifferent : Outcome::kEqual));
}

TEST_CASE("proofs: limits end hard questions, the verdict stays probable") {
  for (const auto& [gold, answer] : std::vector<std::pair<std::string, std::string>>{
           {"\\sqrt2+\\sqrt3+\\sqrt5+\\sqrt7+\\sqrt{11}+\\sqrt{13}+\\sqrt{17}", "\\sqrt{17}+\\sqrt{13}+\\sqrt{11}+\\sqrt7+\\sqrt5+\\sqrt3+\\sqrt2"},
           {"(a+b+c+d+f)^{60}", "(f+d+c+b+a)^{60}"}, {"\\sqrt[11]{\\sqrt[7]{3}+\\sqrt[5]{2}}", "\\sqrt[11]{\\sqrt[5]{2}+\\sqrt[7]{3}}"},
           {"\\sin\\sin\\sin 1+\\pi", "\\pi+\\sin\\sin\\sin 1"}, {"\\frac{1}{x^{50}-y^{50}}", "\\frac{1}{-y^{50}+x^{50}}"}}) {
    CAPTURE(gold);
    CHECK(prove(gold, answer).outcome == Outcome::kEqual);
  }
}

TEST_CASE("proofs: threads, each with its own state, find the same") {
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t, &wrong] {
      for (int round = 0; round < 5; ++round) {
        for (const auto& [gold, answer] : kEqual) {
          const Verdict v = prove(gold, answer);
          wrong[static_cast<std::size_t>(t)] += v.outcome != Outcome::kEqual || v.proved != can_prove();
        }
      }
    });
  }
  for (std::thread& t : threads) t.join();
  CHECK(wrong == std::vector<int>(4));
}

TEST_CASE("proofs: the option is refused by a build that cannot keep it") {
  ConfigReader reader(Config::parse("{prove: true}", "options"));
  if (can_prove()) CHECK(read_check_options(reader).prove);
  else CHECK_THROWS_AS(read_check_options(reader), ConfigError);
}

}  // namespace
}  // namespace r1::math
