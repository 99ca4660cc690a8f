// Built with -ffp-contract=off: the same bits on every processor.
#include "model/gguf_quantize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/error.h"
#include "model/element_convert.h"

namespace r1 {
namespace {

using Byte = std::uint8_t;
constexpr std::size_t kSub = 32, kSubs = 8;  // a Q4_K block: 8 times 32 values
constexpr int kLevels = 15, kSixBits = 63;

void put_half(Byte* p, float value) {
  const std::uint16_t bits = float_to_f16(value);
  std::memcpy(p, &bits, 2);
}
float as_half(float value) { return f16_to_float(float_to_f16(value)); }
int level(float value, int most) { return std::clamp(static_cast<int>(std::lround(value)), 0, most); }

void q8_0(const float* x, Byte* p) {
  float largest = 0;
  for (std::size_t j = 0; j < kSub; ++j) largest = std::max(largest, std::fabs(x[j]));
  const float d = largest / 127.f, inverse = d == 0 ? 0.f : 1.f / d;
  put_half(p, d);
  for (std::size_t j = 0; j < kSub; ++j) p[2 + j] = static_cast<Byte>(static_cast<std::int8_t>(std::round(x[j] * inverse)));
}

// x is near scale * q - minimum with q in 0..15; neither is negative.
struct Affine { float scale = 0, minimum = 0; };

// The best scale and minimum for given levels: weighted least squares; a minimum below 0 is not to be had.
Affine solve(const float* x, const float* weight, const std::array<int, kSub>& q) {
  double w = 0, wx = 0, wq = 0, wqq = 0, wxq = 0;
  for (std::size_t j = 0; j < kSub; ++j) {
    const double wj = weight[j], qj = q[j];
    w += wj, wx += wj * x[j], wq += wj * qj, wqq += wj * qj * qj, wxq += wj * qj * x[j];
  }
  const double determinant = w * wqq - wq * wq;
  if (determinant <= 0) return {};
  const double scale = (w * wxq - wx * wq) / determinant, offset = (wqq * wx - wq * wxq) / determinant;
  if (offset > 0) return {static_cast<float>(wxq / wqq), 0};
  return {static_cast<float>(scale), static_cast<float>(-offset)};
}

Affine fit(const float* x) {
  const float low = std::min(0.f, *std::min_element(x, x + kSub)), high = *std::max_element(x, x + kSub);
  if (high <= low) return {0, -low};  // one value, not above 0
  double square = 0;
  for (std::size_t j = 0; j < kSub; ++j) square += double{x[j]} * x[j];
  // Large weights meet large activations more often than not, and an error there costs more.
  std::array<float, kSub> weight;
  const auto typical = static_cast<float>(std::sqrt(square / kSub));
  for (std::size_t j = 0; j < kSub; ++j) weight[j] = typical + std::fabs(x[j]);
  Affine best;
  double least = INFINITY;
  for (int step = 0; step <= 20; ++step) {
    const float inverse = (static_cast<float>(kLevels) - 1.f + 0.1f * static_cast<float>(step)) / (high - low);
    std::array<int, kSub> q;
    for (std::size_t j = 0; j < kSub; ++j) q[j] = level((x[j] - low) * inverse, kLevels);
    const Affine tried = solve(x, weight.data(), q);
    if (!(tried.scale > 0)) continue;
    double error = 0;
    for (std::size_t j = 0; j < kSub; ++j) {
      const double e = double{tried.scale} * q[j] - tried.minimum - x[j];
      error += weight[j] * e * e;
    }
    if (error < least) least = error, best = tried;
  }
  return best;
}

// The inverse of scale_min() in gguf_blocks.cpp.
void put_scale_min(Byte* p, std::size_t s, int scale, int minimum) {
  if (s < 4) {
    p[s] = static_cast<Byte>(p[s] | scale), p[s + 4] = static_cast<Byte>(p[s + 4] | minimum);
  } else {
    p[s + 4] = static_cast<Byte>((scale & 15) | (minimum & 15) << 4);
    p[s - 4] = static_cast<Byte>(p[s - 4] | (scale >> 4) << 6), p[s] = static_cast<Byte>(p[s] | (minimum >> 4) << 6);
  }
}

void q4_k(const float* x, Byte* p) {
  std::array<Affine, kSubs> fits;
  float scale = 0, minimum = 0;
  for (std::size_t s = 0; s < kSubs; ++s) {
    fits[s] = fit(x + s * kSub);
    scale = std::max(scale, fits[s].scale), minimum = std::max(minimum, fits[s].minimum);
  }
  const float d = as_half(scale / kSixBits), dmin = as_half(minimum / kSixBits);
  std::memset(p, 0, 144);
  put_half(p, d), put_half(p + 2, dmin);
  for (std::size_t s = 0; s < kSubs; ++s) {
    const int ls = d > 0 ? level(fits[s].scale / d, kSixBits) : 0, lm = dmin > 0 ? level(fits[s].minimum / dmin, kSixBits) : 0;
    put_scale_min(p + 4, s, ls, lm);
    const float step = d * static_cast<float>(ls), below = dmin * static_cast<float>(lm);
    Byte* bytes = p + 16 + s / 2 * 32;
    for (std::size_t j = 0; j < kSub; ++j) {
      const int q = step > 0 ? level((x[s * kSub + j] + below) / step, kLevels) : 0;
      bytes[j] = static_cast<Byte>(bytes[j] | q << (s % 2 * 4));
    }
  }
}

}  // namespace

bool can_quantize(GgmlType type) {
  return type == GgmlType::kF32 || type == GgmlType::kF16 || type == GgmlType::kBF16 || type == GgmlType::kQ8_0 || type == GgmlType::kQ4_K;
}

void quantize(GgmlType type, const float* in, std::size_t n, std::byte* out) {
  R1_CHECK(can_quantize(type), "cannot write ", ggml_type_name(static_cast<std::uint32_t>(type)));
  const GgmlFormat format = *ggml_format(static_cast<std::uint32_t>(type));
  R1_CHECK(n % format.block_elements == 0, n, " values are not blocks of ", format.block_elements);
  auto* p = reinterpret_cast<Byte*>(out);
  switch (type) {
    case GgmlType::kF16: return convert_elements(DType::kF32, in, DType::kF16, out, n);
    case GgmlType::kBF16: return convert_elements(DType::kF32, in, DType::kBF16, out, n);
    case GgmlType::kQ8_0:
      for (std::size_t b = 0; b < n / 32; ++b) q8_0(in + b * 32, p + b * 34);
      return;
    case GgmlType::kQ4_K:
      for (std::size_t b = 0; b < n / 256; ++b) q4_k(in + b * 256, p + b * 144);
      return;
    default: std::memcpy(out, in, n * 4);
  }
}

}  // namespace r1
