#include "rl/packing.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "core/error.h"
#include "rl/minibatches.h"
#include "rl/test_support.h"

namespace r1 {
namespace {

std::vector<std::int32_t> all_of(const std::vector<TrainSample>& samples) {
  std::vector<std::int32_t> out(samples.size());
  std::iota(out.begin(), out.end(), 0);
  return out;
}

// The tokens that row `row` of a packed batch sees, its own last.
std::vector<TokenId> context_of(const PackedBatch& b, std::int32_t row) {
  for (const auto& s : b.sequences) {
    if (row < s.begin || row >= s.end) continue;
    std::vector<TokenId> out;
    if (s.prefix_begin >= 0) out.assign(b.tokens.begin() + s.prefix_begin, b.tokens.begin() + s.prefix_end);
    out.insert(out.end(), b.tokens.begin() + s.begin, b.tokens.begin() + row + 1);
    return out;
  }
  return {};
}

}  // namespace

TEST_CASE("every trained token appears once, behind its own context, at any budget") {
  const auto samples = test::make_samples(5, 6, 11);
  for (std::int64_t budget : {1, 7, 20, 40, 100, 100000}) {
    CAPTURE(budget);
    std::set<std::pair<int, int>> seen;
    for (const auto& part : plan_micro_batches(samples, all_of(samples), budget)) {
      const MicroBatch mb = build_micro_batch(samples, part);
      CHECK((static_cast<std::int64_t>(mb.batch.tokens.size()) <= budget || part.size() == 1));
      REQUIRE(mb.batch.targets.size() == mb.tokens.size());
      for (std::size_t i = 0; i < mb.tokens.size(); ++i) {
        const auto [s, t] = mb.tokens[i];
        CHECK(seen.emplace(s, t).second);
        CHECK(mb.batch.targets[i] == samples[s].tokens[t]);
        const std::vector<TokenId> want(samples[s].tokens.begin(), samples[s].tokens.begin() + t);
        CHECK(context_of(mb.batch, mb.batch.predictors[i]) == want);
        CHECK(mb.batch.positions[mb.batch.predictors[i]] == t - 1);
      }
    }
    std::size_t trained = 0;
    for (const auto& s : samples) trained += static_cast<std::size_t>(trained_tokens(s));
    CHECK(seen.size() == trained);
  }
}

TEST_CASE("a group's prompt is computed once; groups stay whole where they fit") {
  const std::vector<TokenId> prompt = {1, 2, 3, 4};
  std::vector<TrainSample> samples;
  for (int g = 0; g < 2; ++g)
    for (int k = 0; k < 3; ++k) samples.push_back(test::make_sample(g, prompt, 4, 1.f, 9, k));
  // A group: 4 prompt rows + 3 x 3 (the last token predicts nothing).
  const auto one = plan_micro_batches(samples, all_of(samples), 26);
  REQUIRE(one.size() == 1);
  CHECK(build_micro_batch(samples, one[0]).batch.tokens.size() == 26);
  const auto two = plan_micro_batches(samples, all_of(samples), 25);
  REQUIRE(two.size() == 2);
  CHECK(two[0] == std::vector<std::int32_t>{0, 1, 2});
  const auto split = plan_micro_batches(samples, all_of(samples), 10);  // 4 + 2 x 3
  REQUIRE(split.size() == 4);
  CHECK(split[0] == std::vector<std::int32_t>{0, 1});
  CHECK(split[1] == std::vector<std::int32_t>{2});
}

TEST_CASE("rows end where the last trained token is predicted; forced tokens inside stay") {
  TrainSample s = test::make_sample(0, {5, 6}, 4, 1.f, 9, 1);
  s.loss_mask[3] = 0;  // forced
  s.loss_mask[5] = 0;  // after the last trained one
  const std::vector<TrainSample> samples = {s};
  const MicroBatch mb = build_micro_batch(samples, all_of(samples));
  CHECK(mb.batch.tokens.size() == 4);
  CHECK(mb.batch.predictors == std::vector<std::int32_t>{1, 3});
  TrainSample masked = s;
  std::fill(masked.loss_mask.begin(), masked.loss_mask.end(), 0);
  CHECK(plan_micro_batches(std::vector<TrainSample>{masked}, std::vector<std::int32_t>{0}, 100).empty());
}

TEST_CASE("one-token completions need no row of their own") {
  std::vector<TrainSample> samples;
  for (int k = 0; k < 3; ++k) samples.push_back(test::make_sample(0, {1, 2}, 1, 1.f, 9, k));
  const MicroBatch mb = build_micro_batch(samples, all_of(samples));
  CHECK(mb.batch.tokens.size() == 2);
  CHECK(mb.batch.sequences.size() == 1);
  CHECK(mb.batch.predictors == std::vector<std::int32_t>{1, 1, 1});
}

TEST_CASE("samples of one group with different prompts are refused") {
  std::vector<TrainSample> samples = {test::make_sample(0, {1, 2}, 2, 1.f, 9, 1),
                                      test::make_sample(0, {1, 3}, 2, 1.f, 9, 2)};
  CHECK_THROWS(build_micro_batch(samples, all_of(samples)));
}

TEST_CASE("minibatches are disjoint, whole groups, drawn from seed and rollout") {
  const auto samples = test::make_samples(7, 3, 11);
  const auto parts = split_minibatches(samples, 3, 5, 2);
  std::vector<std::int32_t> seen;
  for (const auto& p : parts) {
    CHECK(p.size() >= 6);
    CHECK(std::is_sorted(p.begin(), p.end()));
    for (std::size_t i = 0; i < p.size(); i += 3) CHECK(samples[p[i]].group == samples[p[i + 2]].group);
    seen.insert(seen.end(), p.begin(), p.end());
  }
  std::sort(seen.begin(), seen.end());
  CHECK(seen == all_of(samples));
  CHECK(split_minibatches(samples, 3, 5, 2) == parts);
  CHECK(split_minibatches(samples, 3, 5, 3) != parts);
  CHECK(split_minibatches(samples, 1, 5, 2)[0] == all_of(samples));
  // More updates than groups: single samples; more than samples: some parts are empty, none is lost.
  std::size_t count = 0;
  for (const auto& p : split_minibatches(samples, 30, 5, 2)) count += p.size();
  CHECK(count == samples.size());
}

}  // namespace r1
