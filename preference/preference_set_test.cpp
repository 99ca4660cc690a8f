#include "preference/preference_set.h"

#include <doctest/doctest.h>

#include "preference/test_support.h"

namespace r1 {

using test::pair_set;

TEST_CASE("a pair's prompt counts once and stands once in a micro-batch; the marked row has read the whole answer") {
  PreferenceSet set = pair_set({{{1, 2, 3}, {4, 5}, {6}}, {{7}, {8, 9, 1}, {2, 3}}});
  const std::vector<std::int64_t> both = {1, 0};
  CHECK(rows_of(set, both) == std::vector<std::int64_t>{1 + 2 + 1, 3 + 1 + 0});  // the last token of an answer predicts nothing
  mark_for_scores(set);
  CHECK(rows_of(set, both) == std::vector<std::int64_t>{1 + 3 + 2, 3 + 2 + 1});
  CHECK(samples_of(set, both) == std::vector<std::int32_t>{2, 3, 0, 1});
  const MicroBatch batch = build_micro_batch(set.samples, samples_of(set, both));
  CHECK(batch.batch.tokens == std::vector<TokenId>{7, 8, 9, 1, 2, 3, 1, 2, 3, 4, 5, 6});
  CHECK(batch.batch.predictors == std::vector<std::int32_t>{3, 5, 10, 11});
}

TEST_CASE("balanced lengths: the pairs with the greatest differences go until the means are equal; order is kept") {
  // Differences 3, 1, -1, 0, 2: in sum 5.
  PreferenceSet set = pair_set({{{1}, {2, 2, 2, 2}, {3}}, {{2}, {2, 2}, {3}}, {{3}, {2}, {3, 3}}, {{4}, {2}, {3}}, {{5}, {2, 2, 2}, {3}}});
  CHECK(mean_lengths(set).chosen == doctest::Approx(11.0 / 5));
  CHECK(balance_lengths(set) == 2);
  REQUIRE(set.size() == 3);
  CHECK(mean_lengths(set).chosen == mean_lengths(set).rejected);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(set.samples[2 * i].tokens[0] == static_cast<TokenId>(i + 2));
    CHECK(set.samples[2 * i].group == i);
    CHECK(set.samples[2 * i + 1].group == i);
  }
  CHECK(balance_lengths(set) == 0);
  // The other way round.
  PreferenceSet longer = pair_set({{{1}, {2}, {3, 3, 3}}, {{2}, {2, 2}, {3}}, {{3}, {2}, {3, 3}}});
  CHECK(balance_lengths(longer) == 1);
  CHECK(longer.samples[0].tokens[0] == 2);
}

}  // namespace r1
