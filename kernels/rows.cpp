// Row-wise kernels: the split of rows over threads, and sums over rows in a fixed order.
#include <algorithm>
#include <bit>
#include <vector>

#include "core/error.h"
#include "kernels/cpu.h"
#include "kernels/table.h"

namespace r1::cpu {
namespace {

// Rows a chunk should have so that it is worth a hand-over to another thread.
std::int64_t rows_per_chunk(std::int64_t width) { return std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(width, 1)); }

std::size_t size_of(Type type) { return type == Type::kBF16 ? 2 : 4; }
const std::byte* at(const void* p, std::int64_t elements, Type type) {
  return static_cast<const std::byte*>(p) + elements * static_cast<std::int64_t>(size_of(type));
}
std::byte* at(void* p, std::int64_t elements, Type type) {
  return static_cast<std::byte*>(p) + elements * static_cast<std::int64_t>(size_of(type));
}

// dg += the sum over rows, in blocks of 64 rows whatever the threads; fn(begin, end, partial sum [d]).
template <class Fn> void sum_over_rows(ComputePool& pool, std::int64_t m, std::int64_t d, float* dg, const Fn& fn) {
  constexpr std::int64_t kRows = 64;
  const std::int64_t blocks = (m + kRows - 1) / kRows;
  std::vector<float> parts(static_cast<std::size_t>(blocks * d), 0.f);
  pool.parallel_for(blocks, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) fn(b * kRows, std::min(m, (b + 1) * kRows), parts.data() + b * d);
  });
  for (std::int64_t b = 0; b < blocks; ++b)
    for (std::int64_t j = 0; j < d; ++j) dg[j] += parts[static_cast<std::size_t>(b * d + j)];
}

}  // namespace

float to_float(bf16 x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16); }

bf16 to_bf16(float x) {
  const auto u = std::bit_cast<std::uint32_t>(x);
  if (x != x) return static_cast<bf16>((u >> 16) | 0x40u);
  return static_cast<bf16>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

void convert(ComputePool& pool, const float* in, bf16* out, std::int64_t n) {
  const Table& t = table();
  pool.parallel_for((n + 63) / 64, 1024, [&](std::int64_t b, std::int64_t e) {
    t.to_bf16(in + b * 64, out + b * 64, std::min(n, e * 64) - b * 64);
  });
}
void convert(ComputePool& pool, const bf16* in, float* out, std::int64_t n) {
  const Table& t = table();
  pool.parallel_for((n + 63) / 64, 1024, [&](std::int64_t b, std::int64_t e) {
    t.to_f32(in + b * 64, out + b * 64, std::min(n, e * 64) - b * 64);
  });
}

void rms_norm(ComputePool& pool, const float* x, std::int64_t m, std::int64_t d, const void* g, float eps, void* y, Type type,
              float* rstd, Gain gain) {
  const Table& t = table();
  pool.parallel_for(m, rows_per_chunk(d), [&](std::int64_t b, std::int64_t e) {
    t.rms_norm(x + b * d, e - b, d, g, eps, at(y, b * d, type), type, rstd ? rstd + b : nullptr, gain);
  });
}

void rms_norm_heads(ComputePool& pool, const void* x, std::int64_t m, std::int64_t heads, std::int64_t d, std::int64_t ld,
                    const void* g, float eps, void* y, std::int64_t y_ld, Type type, float* rstd, Gain gain) {
  const Table& t = table();
  pool.parallel_for(m, rows_per_chunk(heads * d), [&](std::int64_t b, std::int64_t e) {
    t.rms_norm_heads(at(x, b * ld, type), e - b, heads, d, ld, g, eps, at(y, b * y_ld, type), y_ld, type,
                     rstd ? rstd + b * heads : nullptr, gain);
  });
}

void rms_norm_backward(ComputePool& pool, const float* x, const void* g, const float* rstd, const void* dy, Type type,
                       std::int64_t m, std::int64_t d, float* dx, float* dg, Gain gain) {
  const Table& t = table();
  sum_over_rows(pool, m, d, dg, [&](std::int64_t b, std::int64_t e, float* part) {
    t.rms_norm_backward(x + b * d, g, rstd + b, at(dy, b * d, type), type, e - b, d, dx + b * d, part, gain);
  });
}

void rms_norm_heads_backward(ComputePool& pool, const void* x, std::int64_t ld, const void* g, const float* rstd, const void* dy,
                             std::int64_t dy_ld, Type type, std::int64_t m, std::int64_t heads, std::int64_t d, void* dx,
                             std::int64_t dx_ld, float* dg, Gain gain) {
  const Table& t = table();
  sum_over_rows(pool, m, d, dg, [&](std::int64_t b, std::int64_t e, float* part) {
    t.rms_norm_heads_backward(at(x, b * ld, type), ld, g, rstd + b * heads, at(dy, b * dy_ld, type), dy_ld, type, e - b, heads, d,
                              at(dx, b * dx_ld, type), dx_ld, part, gain);
  });
}

void rope(ComputePool& pool, void* x, std::int64_t m, std::int64_t heads, std::int64_t d, std::int64_t ld,
          const std::int32_t* positions, const float* cos, const float* sin, float sign, Type type) {
  R1_CHECK(d % 2 == 0, "rope needs an even head width, got ", d);
  const Table& t = table();
  pool.parallel_for(m, rows_per_chunk(heads * d), [&](std::int64_t b, std::int64_t e) {
    t.rope(at(x, b * ld, type), e - b, heads, d, ld, positions + b, cos, sin, sign, type);
  });
}

void swiglu(ComputePool& pool, const void* gate_up, std::int64_t m, std::int64_t f, void* out, Type type, Activation activation) {
  const Table& t = table();
  pool.parallel_for(m, rows_per_chunk(3 * f), [&](std::int64_t b, std::int64_t e) {
    t.swiglu(at(gate_up, b * 2 * f, type), e - b, f, at(out, b * f, type), type, activation);
  });
}

void swiglu_backward(ComputePool& pool, const void* gate_up, const void* dy, std::int64_t m, std::int64_t f, void* d_gate_up,
                     Type type, Activation activation) {
  const Table& t = table();
  pool.parallel_for(m, rows_per_chunk(3 * f), [&](std::int64_t b, std::int64_t e) {
    t.swiglu_backward(at(gate_up, b * 2 * f, type), at(dy, b * f, type), e - b, f, at(d_gate_up, b * 2 * f, type), type, activation);
  });
}

}  // namespace r1::cpu
