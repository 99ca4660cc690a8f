// Attention: grouping of rows that share KV blocks, and the split over threads.
#include <algorithm>
#include <vector>

#include "core/error.h"
#include "kernels/cpu.h"
#include "kernels/scratch.h"
#include "kernels/table.h"

namespace r1::cpu {
namespace {

void check(const AttentionShape& s) {
  R1_CHECK(s.heads > 0 && s.kv_heads > 0 && s.heads % s.kv_heads == 0, s.heads, " heads over ", s.kv_heads, " kv heads");
  R1_CHECK(s.head_dim > 0 && s.head_dim % 16 == 0 && s.head_dim <= 1024, "head_dim must be a multiple of 16, at most 1024; got ",
           s.head_dim);
}

// Rows handled by one call: they share the first `joint` blocks.
struct RowGroup {
  std::int64_t begin = 0, count = 0, joint = 0;
  bool same_sequence = true;
};

// Queries (rows x heads per kv head) worth handling at once, and the least blocks worth sharing.
constexpr std::int64_t kGroupQueries = 24;

std::int64_t equal_blocks(const KvRow& a, const KvRow& b, std::int64_t limit) {
  if (a.blocks == b.blocks) return limit;
  std::int64_t i = 0;
  while (i < limit && a.blocks[i] == b.blocks[i]) ++i;
  return i;
}

// Consecutive rows go together while they share most of their blocks (a sequence's own rows, or sequences of one prompt).
std::vector<RowGroup> group_rows(const KvRow* rows, std::int64_t m, std::int64_t reps) {
  std::vector<RowGroup> groups;
  const std::int64_t most = std::max<std::int64_t>(1, kGroupQueries / reps);
  for (std::int64_t i = 0; i < m; ++i) {
    R1_CHECK(rows[i].blocks != nullptr && rows[i].position >= 0, "attention row ", i, " has no KV blocks");
    const std::int64_t whole = (rows[i].position + 1) / kKvBlock;
    if (!groups.empty() && groups.back().count < most) {
      RowGroup& g = groups.back();
      const std::int64_t joint = equal_blocks(rows[g.begin], rows[i], std::min(g.joint, whole));
      const bool same = g.same_sequence && rows[g.begin].blocks == rows[i].blocks;
      // Rows of one sequence, near each other; or sharers of a prefix that is most of their length.
      const bool near = same && rows[i].position / kKvBlock <= rows[g.begin].position / kKvBlock + 1;
      if (near || (joint > 0 && 2 * joint >= g.joint)) {
        g.joint = joint;
        g.same_sequence = same;
        ++g.count;
        continue;
      }
    }
    groups.push_back({i, 1, whole, true});
  }
  return groups;
}

}  // namespace

std::size_t kv_block_bytes(const AttentionShape& s) {
  check(s);
  return static_cast<std::size_t>((s.shared_values ? 1 : 2) * s.kv_heads * kKvBlock * s.head_dim * (s.type == Type::kBF16 ? 2 : 4));
}

void write_kv(ComputePool& pool, const AttentionShape& shape, const void* k, const void* v, std::int64_t m, std::int64_t ld,
              const KvRow* rows, std::size_t layer_offset) {
  check(shape);
  const Table& t = table();
  const WriteKvCall call{shape, static_cast<const std::byte*>(k), static_cast<const std::byte*>(v), ld, rows, layer_offset};
  pool.parallel_for(m, std::max<std::int64_t>(1, 2048 / (shape.kv_heads * shape.head_dim)),
                    [&](std::int64_t begin, std::int64_t end) { t.write_kv(call, begin, end); });
}

void attention(ComputePool& pool, const AttentionShape& shape, const void* q, std::int64_t ld, const KvRow* rows, std::int64_t m,
               std::size_t layer_offset, void* out, std::int64_t out_ld, float* lse) {
  check(shape);
  if (m <= 0) return;
  const Table& t = table();
  AttentionCall call;
  call.shape = shape;
  call.q = static_cast<const std::byte*>(q);
  call.ld = ld;
  call.rows = rows;
  call.layer_offset = layer_offset;
  call.out = static_cast<std::byte*>(out);
  call.out_ld = out_ld;
  call.lse = lse;
  const std::vector<RowGroup> groups = group_rows(rows, m, shape.heads / shape.kv_heads);
  // Items of (group, kv head) in order; dynamic chunks of a few thousand positions even out rows of unlike length.
  std::int64_t positions = 0;
  for (std::int64_t i = 0; i < m; ++i) positions += rows[i].position + 1;
  const auto items = static_cast<std::int64_t>(groups.size()) * shape.kv_heads;
  const double item_cost = static_cast<double>(positions * shape.heads * shape.head_dim) / static_cast<double>(items);
  const std::int64_t grain = std::max<std::int64_t>(1, static_cast<std::int64_t>(400000.0 / std::max(item_cost, 1.0)));
  pool.parallel_for(items, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const RowGroup& g = groups[static_cast<std::size_t>(i / shape.kv_heads)];
      std::int64_t longest = 0;
      for (std::int64_t r = g.begin; r < g.begin + g.count; ++r) longest = std::max<std::int64_t>(longest, rows[r].position + 1);
      t.attention(call, g.begin, g.count, g.joint, g.same_sequence, i % shape.kv_heads,
                  thread_scratch(t.attention_scratch(shape, g.count, longest)));
    }
  });
}

}  // namespace r1::cpu
