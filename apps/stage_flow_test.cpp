// Sizes handed from stage to stage, and what a model of which little is known is taken to write.
#include "apps/stage_flow.h"

#include <doctest/doctest.h>

namespace r1 {

TEST_CASE("lengths: assumed, measured below the budget, measured at it") {
  const Writing nobody = assumed_writing(40);
  CHECK(mean_written(nobody, 40) == doctest::Approx(36.96).epsilon(0.001));
  CHECK(share_finished(nobody, 40) == doctest::Approx(0.1479).epsilon(0.001));
  CHECK(mean_finished(nobody, 40) == doctest::Approx(19.47).epsilon(0.001));  // those that end within 40
  CHECK(assumed_writing(32768).tokens == 8192);
  // All of them are the mean again: ended ones, and the rest at the budget.
  const double ended = share_finished(nobody, 40);
  CHECK(ended * mean_finished(nobody, 40) + (1 - ended) * 40 == doctest::Approx(mean_written(nobody, 40)));

  const Writing plain = measured_writing(20, 100, 0.5, "measured");
  CHECK_FALSE(plain.spread);
  CHECK(mean_written(plain, 400) == 20);
  CHECK(mean_written(plain, 8) == 8);
  CHECK(share_finished(plain, 100) == 1);
  const Writing cut = measured_writing(36, 40, 0, "measured");
  CHECK(cut.spread);
  CHECK(mean_written(cut, 40) == doctest::Approx(36));
  CHECK(mean_written(cut, 80) > 60);  // a larger budget is used
}

TEST_CASE("shares: groups that are mixed, samples that are kept") {
  CHECK(expected_mixed(1, 0) == 1);
  CHECK(expected_mixed(2, 0) == doctest::Approx(0.25));
  CHECK(expected_mixed(8, 0.5) == doctest::Approx(1 - 2.0 / 256));
  CHECK(expected_mixed(16, 0) > expected_mixed(8, 0));
  CHECK(learnt_mixed(0.1, 8, 1) == doctest::Approx(0.1));  // a single rollout is the start's
  CHECK(learnt_mixed(0.1, 8, 10) == doctest::Approx(0.1 + (expected_mixed(8, 0) - 0.1) * 0.3358).epsilon(0.001));
  CHECK(learnt_mixed(0.1, 8, 1000) > 0.98 * expected_mixed(8, 0));
  CHECK(learnt_mixed(0.9, 8, 1000) == 0.9);  // it does not fall to the mean
  CHECK(expected_kept(4, 0, 0.25) == 1);
  CHECK(expected_kept(2, 1, 0.5) == doctest::Approx(0.75));
  CHECK(expected_kept(3, 2, 0.5) == doctest::Approx((3 + 3 * 2 + 2) / 8.0));
  CHECK(expected_kept(4, 1, 1) == 1);
}

TEST_CASE("a set that is yet to be made") {
  Yield y;
  y.samples = 2, y.per_prompt = 1, y.correct = true, y.finished = true;
  const ExpectedSet unknown = expected_set(y, 128, 37, assumed_writing(40), 40, std::nullopt);
  CHECK(unknown.kept == 0.5);
  CHECK(unknown.size.rows == 96);
  CHECK(unknown.size.answer == doctest::Approx(19.47).epsilon(0.001));
  CHECK(unknown.size.tokens == doctest::Approx(56.47).epsilon(0.001));
  CHECK(expected_set(y, 128, 37, measured_writing(25, 40, 0.9, ""), 40, std::nullopt).size.rows == 127);
  CHECK(expected_set(y, 128, 37, assumed_writing(40), 40, 0.25).size.rows == 56);
  y.correct = y.finished = false, y.per_prompt = 0;
  CHECK(expected_set(y, 10, 37, assumed_writing(40), 40, std::nullopt).size.rows == 20);
  CHECK(expected_set(y, 10, 37, assumed_writing(40), 40, std::nullopt).size.answer == doctest::Approx(36.96).epsilon(0.001));

  Yield mix;
  mix.mixed = {{"a", 1}, {"b", 3}};
  const std::vector<DataSize> sets = {{100, 50, 20}, {90, 70, 40}};
  CHECK(mixed_set(mix, sets).rows == 120);  // the second allows 90 / (3/4)
  CHECK(mixed_set(mix, sets).tokens == doctest::Approx(0.25 * 50 + 0.75 * 70));
  mix.mixed_rows = 60;
  CHECK(mixed_set(mix, sets).rows == 60);
  mix = {};
  mix.mixed = {{"a", 0}, {"b", 0}};
  CHECK(mixed_set(mix, sets).rows == 190);
  CHECK(mixed_set(mix, sets).answer == doctest::Approx((100 * 20 + 90 * 40) / 190.0));
}

}  // namespace r1
