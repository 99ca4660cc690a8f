// AdamW and reductions over long arrays, split over threads in fixed pieces.
#include <algorithm>
#include <atomic>
#include <vector>

#include "kernels/cpu.h"
#include "kernels/table.h"

namespace r1::cpu {
namespace {
constexpr std::int64_t kPiece = 32768;  // elements; also the unit of the fixed summation order
std::int64_t pieces(std::int64_t n) { return (n + kPiece - 1) / kPiece; }
}  // namespace

void adamw(ComputePool& pool, float* p, float* m, float* v, const float* g, bf16* live, std::int64_t n, const AdamWArgs& args) {
  const Table& t = table();
  pool.parallel_for(pieces(n), 1, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t b = begin * kPiece, count = std::min(n, end * kPiece) - b;
    t.adamw(p + b, m + b, v + b, g + b, live ? live + b : nullptr, count, args);
  });
}

double sum_of_squares(ComputePool& pool, const float* x, std::int64_t n) {
  const Table& t = table();
  std::vector<double> sums(static_cast<std::size_t>(pieces(n)));
  pool.parallel_for(pieces(n), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      sums[static_cast<std::size_t>(i)] = t.sum_of_squares(x + i * kPiece, std::min(kPiece, n - i * kPiece));
  });
  double total = 0.0;
  for (double s : sums) total += s;
  return total;
}

std::int64_t first_non_finite(ComputePool& pool, const float* x, std::int64_t n) {
  const Table& t = table();
  std::atomic<std::int64_t> first{n};
  pool.parallel_for(pieces(n), 1, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t b = begin * kPiece;
    if (b >= first.load(std::memory_order_relaxed)) return;
    const std::int64_t found = t.first_non_finite(x + b, std::min(n, end * kPiece) - b);
    if (found < 0) return;
    std::int64_t seen = first.load(std::memory_order_relaxed);
    while (b + found < seen && !first.compare_exchange_weak(seen, b + found, std::memory_order_relaxed)) {
    }
  });
  const std::int64_t result = first.load();
  return result < n ? result : -1;
}

}  // namespace r1::cpu
