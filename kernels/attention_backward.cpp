// Gradients of attention: families of sequences that share a prefix, and the split over threads.
#include <algorithm>
#include <vector>

#include "core/error.h"
#include "kernels/cpu.h"
#include "kernels/scratch.h"
#include "kernels/table.h"

namespace r1::cpu {
namespace {

// Sequences [begin, begin + count): one without a prefix and those that continue its rows.
struct Family {
  std::int64_t begin = 0, count = 0, rows = 0, first_row = 0;
  double cost = 0;
};

std::vector<Family> split(const AttentionSequence* sequences, std::int64_t n) {
  std::vector<Family> families;
  for (std::int64_t b = 0; b < n; ++b) {
    const AttentionSequence& s = sequences[b];
    R1_CHECK(s.end >= s.begin, "sequence ", b, " has rows ", s.begin, "..", s.end);
    if (s.prefix_begin < 0) {
      families.push_back({b, 0, 0, 0, 0});
    } else {
      R1_CHECK(!families.empty() && s.prefix_begin >= sequences[families.back().begin].begin && s.prefix_begin <= s.prefix_end &&
                   s.prefix_end <= sequences[families.back().begin].end,
               "sequence ", b, " has prefix rows ", s.prefix_begin, "..", s.prefix_end,
               ", which are not rows of the last sequence without a prefix");
    }
    Family& f = families.back();
    const double own = s.end - s.begin, prefix = s.prefix_begin < 0 ? 0 : s.prefix_end - s.prefix_begin;
    ++f.count;
    f.rows += s.end - s.begin;
    f.cost += own * (own / 2 + prefix);
  }
  return families;
}

}  // namespace

void attention_backward(ComputePool& pool, const AttentionShape& shape, const void* q, const void* k, const void* v, std::int64_t ld,
                        const void* out, std::int64_t out_ld, const void* d_out, std::int64_t d_out_ld, const float* lse,
                        const AttentionSequence* sequences, std::int64_t n, void* dq, void* dk, void* dv, std::int64_t d_ld) {
  kv_block_bytes(shape);  // checks the shape
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

  std::vector<Family> families = split(sequences, n);
  // Each query head leaves its own part of dk and dv, added up below in order of heads: more pieces of work than kv heads,
  // and one order of summation for any number of threads.
  const std::int64_t d = shape.head_dim, reps = shape.heads / shape.kv_heads;
  std::int64_t rows = 0;
  for (Family& f : families) {
    f.first_row = rows;
    rows += f.rows;
  }
  auto* parts = reinterpret_cast<float*>(thread_scratch<1>(static_cast<std::size_t>(2 * rows * shape.heads * d) * 4 + 64));
  const auto part = [&](const Family& f, std::int64_t which, std::int64_t head) {
    return parts + (2 * f.first_row * shape.heads + (which * shape.heads + head) * f.rows) * d;
  };
  // The dearest first, so that no thread starts a long one at the end.
  std::stable_sort(families.begin(), families.end(), [](const Family& a, const Family& b) { return a.cost > b.cost; });
  pool.parallel_for(static_cast<std::int64_t>(families.size()) * shape.heads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const Family& f = families[static_cast<std::size_t>(i / shape.heads)];
      const std::int64_t head = i % shape.heads;
      t.attention_backward(call, sequences + f.begin, f.count, head, part(f, 0, head), part(f, 1, head),
                           thread_scratch(t.attention_backward_scratch(shape, f.rows)));
    }
  });
  pool.parallel_for(static_cast<std::int64_t>(families.size()) * shape.kv_heads, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const Family& f = families[static_cast<std::size_t>(i / shape.kv_heads)];
      const std::int64_t kv_head = i % shape.kv_heads;
      std::int64_t local = 0;
      for (std::int64_t b = f.begin; b < f.begin + f.count; ++b) {
        const std::int64_t count = sequences[b].end - sequences[b].begin;
        const std::int64_t at = (sequences[b].begin * d_ld + kv_head * d) * (shape.type == Type::kBF16 ? 2 : 4);
        t.sum_heads(part(f, 0, kv_head * reps) + local * d, reps, f.rows * d, count, d, call.dk + at, d_ld, shape.type);
        t.sum_heads(part(f, 1, kv_head * reps) + local * d, reps, f.rows * d, count, d, call.dv + at, d_ld, shape.type);
        local += count;
      }
    }
  });
}

}  // namespace r1::cpu
