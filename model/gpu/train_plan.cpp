#include "model/gpu/train_plan.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"

namespace r1 {
namespace {

void check_batch(const PackedBatch& b, std::int64_t vocab_size, std::int64_t vocab_limit) {
  R1_CHECK(!b.tokens.empty() && b.positions.size() == b.tokens.size(), "a batch of ", b.tokens.size(), " tokens with ", b.positions.size(), " positions");
  R1_CHECK(b.predictors.size() == b.targets.size(), b.predictors.size(), " predictors, ", b.targets.size(), " targets");
  for (TokenId t : b.tokens) R1_CHECK(t >= 0 && t < vocab_size, "token ", t, " outside the vocabulary of ", vocab_size);
  for (std::int32_t p : b.predictors)
    R1_CHECK(p >= 0 && static_cast<std::size_t>(p) < b.tokens.size(), "predictor row ", p, " of ", b.tokens.size());
  for (TokenId t : b.targets) R1_CHECK(t >= 0 && t < vocab_limit, "target ", t, " outside the vocabulary of ", vocab_limit);
}

}  // namespace

RowGroups group_rows(const std::vector<std::int32_t>& targets) {
  RowGroups g;
  g.order.resize(targets.size());
  std::iota(g.order.begin(), g.order.end(), 0);
  std::stable_sort(g.order.begin(), g.order.end(), [&](std::int32_t a, std::int32_t b) {
    return targets[static_cast<std::size_t>(a)] < targets[static_cast<std::size_t>(b)];
  });
  for (std::size_t i = 0; i < g.order.size(); ++i) {
    const std::int32_t target = targets[static_cast<std::size_t>(g.order[i])];
    if (g.target.empty() || g.target.back() != target) {
      g.target.push_back(target);
      g.first.push_back(static_cast<std::int32_t>(i));
    }
  }
  g.first.push_back(static_cast<std::int32_t>(g.order.size()));
  return g;
}

TrainPlan plan_training(const PackedBatch& batch, std::int64_t vocab_size, std::int64_t vocab_limit, bool backward) {
  check_batch(batch, vocab_size, vocab_limit);
  constexpr auto kPage = static_cast<std::int32_t>(gpu::kPage);
  const std::size_t count = batch.sequences.size();
  TrainPlan plan;
  plan.rows = static_cast<std::int64_t>(batch.tokens.size());
  plan.predictors = static_cast<std::int64_t>(batch.predictors.size());
  std::vector<std::int32_t> owner(count, -1), sharers(count, 0), table_begin(count, 0), slot(count, -1);
  std::vector<std::int32_t> sequence_at(batch.tokens.size(), -1);
  for (std::size_t b = 0; b < count; ++b) {
    const cpu::AttentionSequence& s = batch.sequences[b];
    R1_CHECK(s.begin < s.end && static_cast<std::size_t>(s.end) <= batch.tokens.size(), "sequence ", b, " has rows [", s.begin, ", ", s.end, ")");
    sequence_at[static_cast<std::size_t>(s.begin)] = static_cast<std::int32_t>(b);
    if (s.prefix_begin < 0) continue;
    owner[b] = sequence_at[static_cast<std::size_t>(s.prefix_begin)];
    R1_CHECK(owner[b] >= 0 && owner[b] < static_cast<std::int32_t>(b) && batch.sequences[static_cast<std::size_t>(owner[b])].end == s.prefix_end &&
                 owner[static_cast<std::size_t>(owner[b])] < 0,
             "sequence ", b, " continues rows [", s.prefix_begin, ", ", s.prefix_end, ") which are no earlier sequence without a prefix");
    ++sharers[static_cast<std::size_t>(owner[b])];
  }
  for (std::size_t b = 0; b < count; ++b) {
    const cpu::AttentionSequence& s = batch.sequences[b];
    const std::int32_t prefix = s.prefix_begin < 0 ? 0 : s.prefix_end - s.prefix_begin, own = s.end - s.begin, length = prefix + own;
    plan.last_position = std::max(plan.last_position, length - 1);
    table_begin[b] = static_cast<std::int32_t>(plan.tables.size());
    const std::int32_t shared_pages = prefix / kPage, first_page = static_cast<std::int32_t>(plan.pages) - shared_pages;
    for (std::int32_t p = 0; p * kPage < length; ++p)
      plan.tables.push_back(p < shared_pages ? plan.tables[static_cast<std::size_t>(table_begin[static_cast<std::size_t>(owner[b])] + p)] : first_page + p);
    plan.pages += (length + kPage - 1) / kPage - shared_pages;
    // The prefix's last, partial page is repeated in the sequence's own first page.
    for (std::int32_t p = shared_pages * kPage; p < length; ++p) {
      plan.kv_src.push_back(p < prefix ? s.prefix_begin + p : s.begin + p - prefix);
      plan.kv_dst.push_back((first_page + p / kPage) * kPage + p % kPage);
    }
    for (std::int32_t r = s.begin; r < s.end; ++r)
      R1_CHECK(batch.positions[static_cast<std::size_t>(r)] == prefix + r - s.begin, "row ", r, " has position ",
               batch.positions[static_cast<std::size_t>(r)], ", expected ", prefix + r - s.begin);
    for (std::int32_t r = 0; r < own; r += kPage)
      plan.prefill.push_back({s.begin + r, std::min(kPage, own - r), prefix + r, table_begin[b]});
    if (!backward) continue;
    plan.sequences.push_back({s.begin, s.end, s.prefix_begin, s.prefix_end});
    // Partial rows: the owner's own first, then each sharer's.
    if (sharers[b] > 0) {
      slot[b] = static_cast<std::int32_t>(plan.partial_rows);
      for (std::int32_t r = 0; r < own; ++r) plan.prefix_sums.push_back({s.begin + r, slot[b] + r, own, 1 + sharers[b]});
      plan.partial_rows += std::int64_t{own} * (1 + sharers[b]);
      sharers[b] = 0;  // counts those that were placed, from here
    }
    std::int32_t prefix_slot = -1;
    if (owner[b] >= 0) {
      const auto o = static_cast<std::size_t>(owner[b]);
      prefix_slot = slot[o] + prefix * ++sharers[o];
    }
    for (std::int32_t k = 0; k * kPage < length; ++k)
      plan.key_items.push_back({static_cast<std::int32_t>(b), k, prefix_slot, slot[b]});
    for (std::int32_t r = 0; r < own; r += kPage) plan.query_items.push_back({static_cast<std::int32_t>(b), r});
  }
  // The longest first, so that no processor is left with one at the end.
  std::stable_sort(plan.prefill.begin(), plan.prefill.end(), [](const auto& a, const auto& b) { return a.position > b.position; });
  if (!backward) return plan;
  const auto length_of = [&](const gpu::BackwardKeyItem& i) {
    const auto& s = plan.sequences[static_cast<std::size_t>(i.sequence)];
    const std::int32_t prefix = s.prefix_begin < 0 ? 0 : s.prefix_end - s.prefix_begin;
    return s.end - s.begin - std::max(0, i.block * kPage - prefix);
  };
  std::stable_sort(plan.key_items.begin(), plan.key_items.end(), [&](const auto& a, const auto& b) { return length_of(a) > length_of(b); });
  std::stable_sort(plan.query_items.begin(), plan.query_items.end(), [](const auto& a, const auto& b) { return a.row > b.row; });
  plan.by_predictor = group_rows(batch.predictors);
  plan.by_token = group_rows(batch.tokens);
  return plan;
}

}  // namespace r1
