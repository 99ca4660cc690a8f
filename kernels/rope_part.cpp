// The rotary embedding of a part of each head, for latent attention and partial rotation. Plain code: a row's work is small
// beside its products.
#include <algorithm>

#include "core/error.h"
#include "kernels/cpu.h"

namespace r1::cpu {
namespace {

float value(float x) { return x; }
float value(bf16 x) { return to_float(x); }
void put(float& to, float v) { to = v; }
void put(bf16& to, float v) { to = to_bf16(v); }

// Where the two members of pair i lie.
struct Pair {
  std::int64_t first, second;
};
Pair pair_at(const RopePart& p, std::int64_t i) {
  return p.interleaved ? Pair{2 * i, 2 * i + 1} : Pair{i, i + p.d / 2};
}

template <class T, class Fn> void for_pairs(ComputePool& pool, const RopePart& p, std::int64_t m, const std::int32_t* positions, const Fn& fn) {
  R1_CHECK(p.d > 0 && p.d % 2 == 0, "rope needs an even width, got ", p.d);
  const std::int64_t half = p.d / 2;
  pool.parallel_for(m, std::max<std::int64_t>(1, 8192 / (p.heads * p.d)), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row)
      for (std::int64_t h = 0; h < p.heads; ++h)
        for (std::int64_t i = 0; i < half; ++i) fn(row, h, i, positions[row] * half + i);
  });
}

template <class T>
void forward(ComputePool& pool, const RopePart& p, const T* x, T* y, std::int64_t m, const std::int32_t* positions, const float* cos,
             const float* sin) {
  for_pairs<T>(pool, p, m, positions, [&](std::int64_t row, std::int64_t h, std::int64_t i, std::int64_t angle) {
    const T* from = x + row * p.x_ld + h * p.x_pitch;
    T* to = y + row * p.y_ld + h * p.y_pitch;
    const Pair at = pair_at(p, i);
    const float a = value(from[at.first]), b = value(from[at.second]), c = cos[angle], s = sin[angle];
    put(to[i], a * c - b * s);
    put(to[i + p.d / 2], b * c + a * s);
  });
}

template <class T>
void backward(ComputePool& pool, const RopePart& p, const T* dy, T* dx, std::int64_t m, const std::int32_t* positions, const float* cos,
              const float* sin) {
  for_pairs<T>(pool, p, m, positions, [&](std::int64_t row, std::int64_t h, std::int64_t i, std::int64_t angle) {
    const T* from = dy + row * p.y_ld + h * p.y_pitch;
    T* to = dx + row * p.x_ld + h * p.x_pitch;
    const Pair at = pair_at(p, i);
    const float a = value(from[i]), b = value(from[i + p.d / 2]), c = cos[angle], s = sin[angle];
    put(to[at.first], a * c + b * s);
    put(to[at.second], b * c - a * s);
  });
}

}  // namespace

void rope_part(ComputePool& pool, const RopePart& p, const void* x, void* y, std::int64_t m, const std::int32_t* positions,
               const float* cos, const float* sin, Type type) {
  R1_CHECK(!p.interleaved || x != y, "interleaved pairs cannot be rotated in place");
  if (type == Type::kBF16) forward(pool, p, static_cast<const bf16*>(x), static_cast<bf16*>(y), m, positions, cos, sin);
  else forward(pool, p, static_cast<const float*>(x), static_cast<float*>(y), m, positions, cos, sin);
}

void rope_part_backward(ComputePool& pool, const RopePart& p, const void* dy, void* dx, std::int64_t m, const std::int32_t* positions,
                        const float* cos, const float* sin, Type type) {
  R1_CHECK(!p.interleaved || dy != dx, "interleaved pairs cannot be rotated in place");
  if (type == Type::kBF16) backward(pool, p, static_cast<const bf16*>(dy), static_cast<bf16*>(dx), m, positions, cos, sin);
  else backward(pool, p, static_cast<const float*>(dy), static_cast<float*>(dx), m, positions, cos, sin);
}

}  // namespace r1::cpu
