#include "rl/eval/vote.h"

#include <doctest/doctest.h>

namespace r1 {
namespace {

using Texts = std::vector<std::string>;
constexpr auto kMaths = VoteEquality::kMaths;
constexpr auto kText = VoteEquality::kText;

TEST_CASE("the largest group wins, equal ones by the first seen") {
  CHECK(majority(Texts{"3", "4", "4"}, kMaths) == 1);
  CHECK(majority(Texts{"3", "4"}, kMaths) == 0);
  CHECK(majority(Texts{"5", "4", "4", "5"}, kMaths) == 0);
  CHECK(majority(Texts{"", "", "7"}, kMaths) == 2);  // no answer is no vote
  CHECK_FALSE(majority(Texts{"", ""}, kMaths));
  CHECK_FALSE(majority(Texts{}, kMaths));
}

TEST_CASE("answers are equal as mathematics, whatever their form") {
  CHECK(majority(Texts{"3", "\\frac{1}{2}", "0.5", "1/2"}, kMaths) == 1);
  CHECK(majority(Texts{"4", "x+1", "1+x"}, kMaths) == 1);
  CHECK(majority(Texts{"9", "1{,}000", "1000"}, kMaths) == 1);
  // A rounded decimal and its exact value, in either order.
  CHECK(majority(Texts{"7", "0.333", "1/3"}, kMaths) == 1);
  CHECK(majority(Texts{"7", "1/3", "0.333"}, kMaths) == 1);
  CHECK(majority(Texts{"B", "a", "A "}, kText) == 1);
  CHECK(majority(Texts{"C", "B", "b"}, kText) == 1);
  CHECK(majority(Texts{"0.5", "1/2"}, kText) == 0);
}

TEST_CASE("the answer that votes compare is the one that the reward reads") {
  CHECK(voted_answer("so \\boxed{3} and \\boxed{12}", false, AnswerSource::kBoxed) == "3, 12");
  CHECK(voted_answer("first \\boxed{3}. No: \\boxed{12}.", false, AnswerSource::kBoxed) == "12");
  CHECK(voted_answer("it is 12", false, AnswerSource::kBoxed).empty());
  CHECK(voted_answer("it is 12", false, AnswerSource::kAuto) == "12");
  CHECK(voted_answer("work\n#### 7", false, AnswerSource::kHash) == "7");
  CHECK(voted_answer("\\boxed{1}", true, AnswerSource::kBoxed).empty());  // still thinking
  CHECK(voted_answer("\\boxed{1}</think>\\boxed{2}", true, AnswerSource::kBoxed) == "2");
}

}  // namespace
}  // namespace r1
