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
  R1_CHECK(s.head_dim > 0 && s.head_dim % 16 == 0 && s.head_dim <= 256, "head_dim must be a multiple of 16, at most 256; got ",
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
  return static_cast<std::size_t>(2 * s.kv_heads * kKvBlock * s.head_dim * (s.type == Type::kBF16 ? 2 : 4));
}

void write_kv(ComputePool& pool, const AttentionShape& shape, const void* k, const void* v, std::int64_t m, std::int64_t ld,
              const KvRow* rows, std::size_t layer_offset) {
  check(shape);
  const Table& t = table();
  const WriteKvCall call{shape, static_cast<const std::byte*>(k), static_cast<const std::byte*>(v), ld, rows, layer_offset};
  pool.parallel_for(m, std::max<std::int64_t>(1, 8192 / (shape.kv_heads * shape.head_dim)),
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

void attention_backward(ComputePool& pool, const AttentionShape& shape, const void* q, const void* k, const void* v, std::int64_t ld,
                        const void* out, std::int64_t out_ld, const void* d_out, std::int64_t d_out_ld, const float* lse,
                        const AttentionSequence* sequences, std::int64_t n, void* dq, void* dk, void* dv, std::int64_t d_ld) {
  check(shape);
  const Table& t = table();
  AttentionBackwardCall call;
  call.shape = shape;
  call.q = static_cast<const std::byte*>(q);
  call.k = static_cast<const std::byte*>(k);
  call.v = static_cast<const std::byte*>(v);
  call.out = static_cast<const std::byte*>(out);
  call.d_out = static_cast<const std::byte*>(d_out);
  call.ld = ld;
  call.out_ld = out_ld;
  call.d_out_ld = d_out_ld;
  call.d_ld = d_ld;
  call.lse = lse;
  call.dq = static_cast<std::byte*>(dq);
  call.dk = static_cast<std::byte*>(dk);
  call.dv = static_cast<std::byte*>(dv);

  struct Family {
    std::int64_t begin = 0, count = 0, rows = 0;
    double cost = 0;
  };
  std::vector<Family> families;
  for (std::int64_t b = 0; b < n; ++b) {
    const AttentionSequence& s = sequences[b];
    R1_CHECK(s.end >= s.begin, "sequence ", b, " has rows ", s.begin, "..", s.end);
    if (s.prefix_begin < 0) {
      families.push_back({b, 0, 0, 0});
    } else {
      R1_CHECK(!families.empty() && s.prefix_begin >= sequences[families.back().begin].begin &&
                   s.prefix_begin <= s.prefix_end && s.prefix_end <= sequences[families.back().begin].end,
               "sequence ", b, " has prefix rows ", s.prefix_begin, "..", s.prefix_end,
               ", which are not rows of the last sequence without a prefix");
    }
    Family& f = families.back();
    ++f.count;
    const double own = s.end - s.begin, prefix = s.prefix_begin < 0 ? 0 : s.prefix_end - s.prefix_begin;
    f.rows += s.end - s.begin;
    f.cost += own * (own / 2 + prefix);
  }
  // The dearest first, so that no thread starts a long one at the end.
  std::stable_sort(families.begin(), families.end(), [](const Family& a, const Family& b) { return a.cost > b.cost; });
  pool.parallel_for(static_cast<std::int64_t>(families.size()) * shape.kv_heads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const Family& f = families[static_cast<std::size_t>(i / shape.kv_heads)];
      t.attention_backward(call, sequences + f.begin, f.count, i % shape.kv_heads,
                           thread_scratch(t.attention_backward_scratch(shape, f.rows)));
    }
  });
}

}  // namespace r1::cpu
