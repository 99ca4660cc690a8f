#include "rollout/stop_matcher.h"

#include <doctest/doctest.h>

#include <memory>

#include "core/error.h"
#include "core/rng.h"

namespace r1 {
namespace {

std::shared_ptr<const StopRules> rules(std::vector<std::string> strings, std::vector<TokenId> stop_tokens = {}, int budget = 100,
                                       bool ignore_eos = false) {
  SamplingOptions options;
  options.stop_strings = std::move(strings);
  options.stop_tokens = std::move(stop_tokens);
  options.max_new_tokens = budget;
  options.ignore_eos = ignore_eos;
  const std::vector<TokenId> end = {9, 2};
  return std::make_shared<const StopRules>(options, end);
}

TEST_CASE("end tokens, stop tokens and length, in this order") {
  StopMatcher m(rules({}, {5, 2}, 3));
  CHECK_FALSE(m.push(1, 1, ""));
  CHECK(m.push(2, 2, "") == StopReason::kEos);  // also a stop token
  CHECK(m.push(9, 3, "") == StopReason::kEos);  // also the last of the budget
  CHECK(m.push(5, 2, "") == StopReason::kStop);
  CHECK(m.push(5, 3, "") == StopReason::kStop);
  CHECK(m.push(1, 3, "") == StopReason::kLength);
}

TEST_CASE("ignore_eos leaves stop tokens and strings in force") {
  StopMatcher m(rules({"x"}, {5}, 3, true));
  CHECK_FALSE(m.push(9, 1, ""));
  CHECK_FALSE(m.push(2, 2, ""));
  CHECK(m.push(5, 2, "") == StopReason::kStop);
  StopMatcher n(rules({"x"}, {5}, 3, true));
  CHECK(n.push(9, 1, "ax") == StopReason::kStop);
}

TEST_CASE("a stop string across tokens cuts the text before it") {
  StopMatcher m(rules({"</answer>"}));
  CHECK_FALSE(m.push(1, 1, "42 </ans"));
  CHECK_FALSE(m.push(1, 2, "we"));
  CHECK(m.take(false) == "42 ");
  CHECK(m.push(1, 3, "r> and more") == StopReason::kStop);
  CHECK(m.cut());
  CHECK(m.text() == "42 ");
  CHECK(m.take(true) == "");
}

TEST_CASE("of several stop strings the earliest place wins") {
  StopMatcher m(rules({"world", "lo w", "o"}));
  CHECK(m.push(1, 1, "hello world") == StopReason::kStop);
  CHECK(m.text() == "hel");
}

TEST_CASE("text that may begin a stop string is held back until it cannot") {
  StopMatcher m(rules({"\n\nQ:", "END"}));
  m.push(1, 1, "a\n");
  CHECK(m.take(false) == "a");
  m.push(1, 2, "\n");
  CHECK(m.take(false) == "");
  m.push(1, 3, "b E");
  CHECK(m.take(false) == "\n\nb ");
  m.push(1, 4, "N");
  CHECK(m.take(false) == "");
  CHECK(m.take(true) == "EN");  // the completion ends here
}

TEST_CASE("random texts and cuts agree with a search of the whole text") {
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    StreamRng rng(seed, 2);
    const auto word = [&](std::uint64_t longest) {
      std::string s;
      for (std::uint64_t n = 1 + rng.below(longest); n > 0; --n) s += static_cast<char>('a' + rng.below(2));
      return s;
    };
    std::vector<std::string> stops;
    for (std::uint64_t n = 1 + rng.below(3); n > 0; --n) stops.push_back(message("b", word(4), "a"));
    StopMatcher m(rules(stops));
    std::string whole, streamed;
    bool stopped = false;
    for (int i = 1; i < 30 && !stopped; ++i) {
      const std::string piece = rng.below(4) == 0 ? "" : word(3);
      whole += piece;
      stopped = m.push(1, i, piece).has_value();
      streamed += m.take(false);
      std::size_t expected = std::string::npos;
      for (const std::string& s : stops) expected = std::min(expected, whole.find(s));
      REQUIRE(stopped == (expected != std::string::npos));
      if (stopped) whole.resize(expected);
      REQUIRE(whole.starts_with(streamed));
    }
    streamed += m.take(true);
    CHECK(m.text() == whole);
    CHECK(streamed == whole);
  }
}

}  // namespace
}  // namespace r1
