#include "model/element_convert.h"

#include <cstring>

#include "core/error.h"

namespace r1 {
namespace {

template <class T>
T load(const void* in, std::size_t i) {
  T value;
  std::memcpy(&value, static_cast<const std::byte*>(in) + i * sizeof(T), sizeof(T));
  return value;
}
template <class T>
void store(void* out, std::size_t i, T value) {
  std::memcpy(static_cast<std::byte*>(out) + i * sizeof(T), &value, sizeof(T));
}

template <class Read>
void write_all(Read read, DType to, void* out, std::size_t n) {
  switch (to) {
    case DType::kF32: for (std::size_t i = 0; i < n; ++i) store<float>(out, i, read(i)); return;
    case DType::kBF16: for (std::size_t i = 0; i < n; ++i) store<std::uint16_t>(out, i, float_to_bf16(read(i))); return;
    default: for (std::size_t i = 0; i < n; ++i) store<std::uint16_t>(out, i, float_to_f16(read(i))); return;
  }
}

}  // namespace

float f16_to_float(std::uint16_t h) {
  const std::uint32_t sign = std::uint32_t{h & 0x8000u} << 16, exponent = (h >> 10) & 31u, mantissa = h & 1023u;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | (mantissa << 13));
  if (exponent == 0) {  // subnormal: mantissa * 2^-24, exact in float32
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (mantissa << 13));
}

std::uint16_t float_to_f16(float value) {
  const auto u = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (u >> 16) & 0x8000u, magnitude = u & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return static_cast<std::uint16_t>(sign | 0x7E00u | ((magnitude >> 13) & 0x1FFu));
  if (magnitude >= 0x477FF000u) return static_cast<std::uint16_t>(sign | 0x7C00u);  // 65520 and more round to infinity
  if (magnitude < 0x38800000u) {
    // Below 2^-14: adding 0.5 puts the last kept bit at 2^-24, so the hardware rounds to a subnormal for us.
    const auto sum = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5f);
    return static_cast<std::uint16_t>(sign | (sum - 0x3F000000u));
  }
  const std::uint32_t rounded = magnitude + 0xFFFu + ((magnitude >> 13) & 1u);
  return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

bool is_float_type(DType t) { return t == DType::kF32 || t == DType::kF16 || t == DType::kBF16; }

void convert_elements(DType from, const void* in, DType to, void* out, std::size_t n) {
  if (!is_float_type(from) || !is_float_type(to))
    throw Error(message("cannot convert ", safetensors_name(from), " to ", safetensors_name(to),
                        "; supported are F32, F16 and BF16"));
  if (from == to) {
    if (in != out && n > 0) std::memcpy(out, in, n * size_of(from));
    return;
  }
  switch (from) {
    case DType::kF32: write_all([in](std::size_t i) { return load<float>(in, i); }, to, out, n); return;
    case DType::kBF16: write_all([in](std::size_t i) { return bf16_to_float(load<std::uint16_t>(in, i)); }, to, out, n); return;
    default: write_all([in](std::size_t i) { return f16_to_float(load<std::uint16_t>(in, i)); }, to, out, n); return;
  }
}

}  // namespace r1
