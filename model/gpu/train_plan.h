// A packed batch as the GPU wants it: index arrays for pages, attention, gradients of shared rows. Host side, pure.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/gpu/attention.h"
#include "model/transformer.h"

namespace r1 {

// Rows of equal target, for gpu::add_row_groups().
struct RowGroups {
  std::vector<std::int32_t> target, first, order;  // [u], [u + 1], [rows]
  std::int64_t groups() const { return static_cast<std::int64_t>(target.size()); }
};
RowGroups group_rows(const std::vector<std::int32_t>& targets);  // targets in ascending order, rows of one in their order

struct TrainPlan {
  std::int64_t rows = 0, predictors = 0;
  std::int32_t last_position = 0;
  // forward: keys and values of the rows, laid out in pages of one layer
  std::int64_t pages = 0;
  std::vector<std::int32_t> kv_src, kv_dst;  // rows that a shared page's sharers repeat included
  std::vector<std::int32_t> tables;
  std::vector<gpu::PrefillItem> prefill;
  // backward
  std::int64_t partial_rows = 0;
  std::vector<gpu::TrainSequence> sequences;
  std::vector<gpu::BackwardKeyItem> key_items;
  std::vector<gpu::BackwardQueryItem> query_items;
  std::vector<gpu::PrefixSum> prefix_sums;
  RowGroups by_predictor, by_token;
};

// Throws Error for a batch that contradicts itself (PackedBatch in model/transformer.h says what holds).
TrainPlan plan_training(const PackedBatch& batch, std::int64_t vocab_size, std::int64_t vocab_limit, bool backward);

}  // namespace r1
