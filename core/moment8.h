// Adam's moments in 8 bits a number and one power of two for 256 of them. On host and GPU.
//
// Blocks of 256 as in "8-bit Optimizers via Block-wise Quantization" (arXiv:2110.02861); small floats under a shared power of two as in
// microscaling formats (arXiv:2310.10537), because then what is stored stays exactly where it is when the block's largest number changes.
// exp_avg: sign, 4 bits of exponent, 3 of mantissa: 2^-17 to 1.875 of the scale. exp_avg_sq, never negative: 5 bits of exponent, 3 of
// mantissa: 2^-33 to 1.875. Neighbours lie 6 to 12.5 % apart, gradual underflow below.
//
// A moment that moves by a tenth or a twentieth a step would not leave its code if it were rounded to the nearest. So it is rounded up or
// down by chance, up with the probability that makes the mean right (as bfloat16 without a master, arXiv:2010.06192); chance is a hash of
// element and update, so that every run and every resumed run gives the same bits. A second moment above 0 never becomes 0, for it divides.
#pragma once

#include <bit>
#include <cstdint>

namespace r1 {

inline constexpr std::int64_t kMomentBlock = 256;
inline constexpr std::uint32_t kNearestDither = 0x80000u;  // rounds to the nearest

// The scale of a block from the bits of its largest magnitude: the exponent of that number rounded up to 3 bits of mantissa, biased by 127.
constexpr std::uint8_t moment_scale(std::uint32_t largest_bits) {
  const std::uint32_t exponent = (largest_bits + 0xFFFFFu) >> 23;
  return static_cast<std::uint8_t>(exponent < 1 ? 1 : exponent > 253 ? 253 : exponent);
}

namespace detail {
// With the scale taken out, a float32's exponent field of `offset` less is the code's, its top 3 bits of mantissa are the code's too,
// and its own gradual underflow is the code's.
constexpr std::uint32_t moment_encode(float magnitude, std::uint8_t scale, float offset, std::uint32_t dither, std::uint32_t most) {
  const float inverse = std::bit_cast<float>((254u - scale) << 23);
  const std::uint32_t code = (std::bit_cast<std::uint32_t>(magnitude * inverse * offset) + dither) >> 20;
  return code < most ? code : most;
}
constexpr float moment_decode(std::uint32_t code, std::uint8_t scale, float offset) {
  return std::bit_cast<float>(code << 20) * offset * std::bit_cast<float>(std::uint32_t{scale} << 23);
}
}  // namespace detail

// dither: 20 bits.
constexpr std::uint8_t encode_exp_avg(float x, std::uint8_t scale, std::uint32_t dither) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t code = detail::moment_encode(std::bit_cast<float>(bits & 0x7FFFFFFFu), scale, 0x1p-112f, dither, 127);
  return static_cast<std::uint8_t>(code | (bits >> 31 << 7));
}
constexpr float decode_exp_avg(std::uint8_t code, std::uint8_t scale) {
  const float magnitude = detail::moment_decode(code & 127u, scale, 0x1p112f);
  return code & 128u ? -magnitude : magnitude;
}
constexpr std::uint8_t encode_exp_avg_sq(float x, std::uint8_t scale, std::uint32_t dither) {
  const std::uint32_t code = detail::moment_encode(x, scale, 0x1p-96f, dither, 255);
  return static_cast<std::uint8_t>(code == 0 && x > 0.f ? 1 : code);
}
constexpr float decode_exp_avg_sq(std::uint8_t code, std::uint8_t scale) { return detail::moment_decode(code, scale, 0x1p96f); }

// Chance for one element's two moments at one update; key = moment_key(update).
struct MomentDither { std::uint32_t exp_avg, exp_avg_sq; };
constexpr std::uint32_t mix32(std::uint32_t x) {
  x = (x ^ (x >> 16)) * 0x7FEB352Du;
  x = (x ^ (x >> 15)) * 0x846CA68Bu;
  return x ^ (x >> 16);
}
constexpr std::uint32_t moment_key(std::uint64_t update) { return mix32(static_cast<std::uint32_t>(update) * 0x9E3779B1u + 1u); }
constexpr MomentDither moment_dither(std::uint64_t element, std::uint32_t key) {
  const std::uint32_t h = mix32(static_cast<std::uint32_t>(element) + static_cast<std::uint32_t>(element >> 32) * 0x85EBCA77u + key);
  return {h >> 12, h & 0xFFFFFu};  // the middle bits are shared: the lowest of one, the highest of the other
}

}  // namespace r1
