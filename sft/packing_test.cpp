#include "sft/packing.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>

#include "core/rng.h"
#include "sft/example_stream.h"

namespace r1 {
namespace {
std::int64_t used(const std::vector<std::int32_t>& part, const std::vector<std::int64_t>& lengths) {
  std::int64_t n = 0;
  for (std::int32_t i : part) n += lengths[static_cast<std::size_t>(i)];
  return n;
}
}  // namespace

TEST_CASE("best fit decreasing by hand") {
  // 7 opens a part (3 left), 6 another (4 left), 4 fills the second, 3 the first, 2 and 1 share a third.
  const std::vector<std::int64_t> lengths = {2, 7, 4, 6, 3, 1};
  CHECK(pack_best_fit(lengths, 10) == MicroBatchPlan{{0, 5}, {1, 4}, {2, 3}});
  // The fuller of two parts that fit is taken.
  CHECK(pack_best_fit(std::vector<std::int64_t>{8, 6, 2}, 10) == MicroBatchPlan{{0, 2}, {1}});
  CHECK(pack_best_fit(std::vector<std::int64_t>{12, 3}, 10) == MicroBatchPlan{{0}, {1}});
  CHECK(pack_best_fit(std::vector<std::int64_t>{}, 10).empty());
}

TEST_CASE("every example once, within the budget, close to the least number of parts") {
  StreamRng rng(3, 1);
  std::vector<std::int64_t> lengths;
  for (int i = 0; i < 500; ++i) lengths.push_back(1 + static_cast<std::int64_t>(rng.below(i % 10 == 0 ? 1000 : 200)));
  const MicroBatchPlan plan = pack_best_fit(lengths, 1024);
  std::vector<std::int32_t> all;
  for (const auto& part : plan) {
    CHECK(used(part, lengths) <= 1024);
    all.insert(all.end(), part.begin(), part.end());
  }
  std::sort(all.begin(), all.end());
  REQUIRE(all.size() == lengths.size());
  for (std::size_t i = 0; i < all.size(); ++i) CHECK(all[i] == static_cast<std::int32_t>(i));
  const std::int64_t total = std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0});
  CHECK(static_cast<std::int64_t>(plan.size()) <= total / 1024 + 2);
}

TEST_CASE("an epoch has each example as often as its part's weight says; the order depends on seed and epoch alone") {
  const auto counts = [](ExampleStream& s, std::uint64_t first, std::uint64_t n) {
    std::vector<int> out(30, 0);
    for (std::uint64_t i = first; i < first + n; ++i) ++out[static_cast<std::size_t>(s.at(i))];
    return out;
  };
  ExampleStream plain({{30, 1}}, 4, true), again({{30, 1}}, 4, true), other({{30, 1}}, 5, true), still({{30, 1}}, 4, false);
  CHECK(plain.epoch_size() == 30);
  std::vector<std::int64_t> first, second, repeat, seed5;
  for (std::uint64_t i = 0; i < 30; ++i) first.push_back(plain.at(i)), second.push_back(plain.at(30 + i)), seed5.push_back(other.at(i));
  for (std::uint64_t i = 30; i-- > 0;) repeat.insert(repeat.begin(), again.at(i));
  CHECK(first == repeat);
  CHECK(first != second);
  CHECK(first != seed5);
  CHECK(counts(plain, 0, 30) == std::vector<int>(30, 1));
  CHECK(counts(plain, 30, 30) == std::vector<int>(30, 1));
  CHECK(still.at(31) == 1);

  // Twenty of weight 0.25, ten of weight 2.5: 5 + 25 an epoch. Over four epochs each of the first comes once.
  ExampleStream mixed({{20, 0.25}, {10, 2.5}}, 4, true);
  CHECK(mixed.epoch_size() == 30);
  const auto epoch = counts(mixed, 0, 30);
  CHECK(std::accumulate(epoch.begin(), epoch.begin() + 20, 0) == 5);
  CHECK(*std::max_element(epoch.begin(), epoch.begin() + 20) == 1);
  for (std::size_t i = 20; i < 30; ++i) CHECK((epoch[i] == 2 || epoch[i] == 3));
  const auto four = counts(mixed, 0, 120);
  for (std::size_t i = 0; i < 20; ++i) CHECK(four[i] == 1);
  for (std::size_t i = 20; i < 30; ++i) CHECK(four[i] == 10);
}

}  // namespace r1
