// Built with -ffp-contract=off: a fused d*q+m would differ from the reference in the last bit.
#include "model/gguf_blocks.h"

#include <array>
#include <cstring>

#include "core/error.h"
#include "model/element_convert.h"

namespace r1 {
namespace {

using Byte = std::uint8_t;
constexpr std::size_t kSuper = 256;  // elements of a K-quant block

float half(const Byte* p) {
  std::uint16_t bits;
  std::memcpy(&bits, p, 2);
  return f16_to_float(bits);
}

// ---- blocks of 32: half scale d, maybe half minimum m; byte j holds element j (low nibble) and j + 16 (high) ----

void q4(const Byte* qs, float d, float m, int bias, float* out) {
  for (std::size_t j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>((qs[j] & 15) - bias) + m;
    out[j + 16] = d * static_cast<float>((qs[j] >> 4) - bias) + m;
  }
}

// The fifth bit of element j is bit j of the word qh.
void q5(const Byte* qh, const Byte* qs, float d, float m, int bias, float* out) {
  std::uint32_t high;
  std::memcpy(&high, qh, 4);
  for (std::size_t j = 0; j < 16; ++j) {
    const int a = (qs[j] & 15) | static_cast<int>((high >> j) & 1u) << 4;
    const int b = (qs[j] >> 4) | static_cast<int>((high >> (j + 16)) & 1u) << 4;
    out[j] = d * static_cast<float>(a - bias) + m;
    out[j + 16] = d * static_cast<float>(b - bias) + m;
  }
}

void q8_0(const Byte* p, float* out) {
  const float d = half(p);
  for (std::size_t j = 0; j < 32; ++j) out[j] = d * static_cast<float>(static_cast<std::int8_t>(p[2 + j]));
}

// ---- blocks of 256 with 16 or 8 sub-blocks, whose scales are quantised too ----

// Two bits an element: a group of 32 bytes holds 128 elements, bit pair s of byte j being element 32 s + j.
void q2_k(const Byte* p, float* out) {
  const Byte* scales = p;
  const Byte* qs = p + 16;
  const float d = half(p + 80), dmin = half(p + 82);
  for (std::size_t e = 0; e < kSuper; ++e) {
    const Byte scale = scales[e / 16];
    const int q = (qs[e / 128 * 32 + e % 32] >> (2 * (e / 32 % 4))) & 3;
    out[e] = d * static_cast<float>(scale & 15) * static_cast<float>(q) - dmin * static_cast<float>(scale >> 4);
  }
}

// As Q2_K, with a third bit in hmask (0 there means 4 less) and signed 6-bit scales.
void q3_k(const Byte* p, float* out) {
  const Byte *hmask = p, *qs = p + 32, *packed = p + 96;
  const float d = half(p + 108);
  for (std::size_t e = 0; e < kSuper; ++e) {
    const std::size_t s = e / 16;
    const int low = s < 8 ? packed[s] & 15 : packed[s - 8] >> 4;
    const int high = (packed[8 + s % 4] >> (2 * (s / 4))) & 3;
    const int scale = (low | high << 4) - 32;
    const int q = ((qs[e / 128 * 32 + e % 32] >> (2 * (e / 32 % 4))) & 3) - (((hmask[e % 32] >> (e / 32)) & 1) ? 0 : 4);
    out[e] = d * static_cast<float>(scale) * static_cast<float>(q);
  }
}

// 6-bit scale and minimum of sub-block s of Q4_K and Q5_K, from 12 bytes: the first four pairs whole, the upper two bits
// of the other four in the top of the first eight bytes.
struct ScaleMin { int scale, min; };
ScaleMin scale_min(const Byte* p, std::size_t s) {
  if (s < 4) return {p[s] & 63, p[s + 4] & 63};
  return {(p[s + 4] & 15) | (p[s - 4] >> 6) << 4, (p[s + 4] >> 4) | (p[s] >> 6) << 4};
}

// qh null: Q4_K; else the fifth bit of sub-block s is bit s of qh.
void q45_k(const Byte* p, const Byte* qh, const Byte* qs, float* out) {
  const float d = half(p), dmin = half(p + 2);
  for (std::size_t s = 0; s < 8; ++s) {
    const ScaleMin sm = scale_min(p + 4, s);
    const float scale = d * static_cast<float>(sm.scale), minimum = dmin * static_cast<float>(sm.min);
    const Byte* bytes = qs + s / 2 * 32;
    for (std::size_t j = 0; j < 32; ++j) {
      int q = s % 2 ? bytes[j] >> 4 : bytes[j] & 15;
      if (qh != nullptr) q |= ((qh[j] >> s) & 1) << 4;
      out[s * 32 + j] = scale * static_cast<float>(q) - minimum;
    }
  }
}

// Six bits: 64 bytes of nibbles for 128 elements, two further bits in qh; signed 8-bit scales for 16 elements each.
void q6_k(const Byte* p, float* out) {
  const Byte *ql = p, *qh = p + 128, *scales = p + 192;
  const float d = half(p + 208);
  for (std::size_t e = 0; e < kSuper; ++e) {
    const std::size_t half_index = e / 128, in_half = e % 128;
    const Byte low = ql[half_index * 64 + in_half % 64];
    const int nibble = in_half / 64 ? low >> 4 : low & 15;
    const int high = (qh[half_index * 32 + in_half % 32] >> (2 * (in_half / 32))) & 3;
    const float scale = d * static_cast<float>(static_cast<std::int8_t>(scales[e / 16]));
    out[e] = scale * static_cast<float>((nibble | high << 4) - 32);
  }
}

void one_block(GgmlType type, const Byte* p, float* out) {
  // A minimum of -0 added to the product changes no bit of it.
  switch (type) {
    case GgmlType::kF32: std::memcpy(out, p, 4); return;
    case GgmlType::kF16: *out = half(p); return;
    case GgmlType::kBF16: {
      std::uint16_t bits;
      std::memcpy(&bits, p, 2);
      *out = bf16_to_float(bits);
      return;
    }
    case GgmlType::kQ4_0: return q4(p + 2, half(p), -0.f, 8, out);
    case GgmlType::kQ4_1: return q4(p + 4, half(p), half(p + 2), 0, out);
    case GgmlType::kQ5_0: return q5(p + 2, p + 6, half(p), -0.f, 16, out);
    case GgmlType::kQ5_1: return q5(p + 4, p + 8, half(p), half(p + 2), 0, out);
    case GgmlType::kQ8_0: return q8_0(p, out);
    case GgmlType::kQ2_K: return q2_k(p, out);
    case GgmlType::kQ3_K: return q3_k(p, out);
    case GgmlType::kQ4_K: return q45_k(p, nullptr, p + 16, out);
    case GgmlType::kQ5_K: return q45_k(p, p + 16, p + 48, out);
    case GgmlType::kQ6_K: return q6_k(p, out);
  }
  R1_CHECK(false, "no such ggml type: ", static_cast<unsigned>(type));
}

struct Known {
  GgmlType type;
  GgmlFormat format;
};
constexpr std::array<Known, 13> kKnown{{
    {GgmlType::kF32, {"F32", 1, 4}}, {GgmlType::kF16, {"F16", 1, 2}}, {GgmlType::kBF16, {"BF16", 1, 2}},
    {GgmlType::kQ4_0, {"Q4_0", 32, 18}}, {GgmlType::kQ4_1, {"Q4_1", 32, 20}}, {GgmlType::kQ5_0, {"Q5_0", 32, 22}},
    {GgmlType::kQ5_1, {"Q5_1", 32, 24}}, {GgmlType::kQ8_0, {"Q8_0", 32, 34}}, {GgmlType::kQ2_K, {"Q2_K", 256, 84}},
    {GgmlType::kQ3_K, {"Q3_K", 256, 110}}, {GgmlType::kQ4_K, {"Q4_K", 256, 144}}, {GgmlType::kQ5_K, {"Q5_K", 256, 176}},
    {GgmlType::kQ6_K, {"Q6_K", 256, 210}},
}};

}  // namespace

const char* const kSupportedGgmlTypes = "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K";

std::optional<GgmlFormat> ggml_format(std::uint32_t type) {
  for (const Known& known : kKnown)
    if (static_cast<std::uint32_t>(known.type) == type) return known.format;
  return std::nullopt;
}

std::string ggml_type_name(std::uint32_t type) {
  if (const auto format = ggml_format(type)) return format->name;
  static constexpr std::array<const char*, 15> kOthers = {"Q8_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S",
                                                          "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS", "I8",
                                                          "I16", "I32", "I64", "F64", "IQ1_M"};
  if (type >= 15 && type < 15 + kOthers.size()) return kOthers[type - 15];
  return message("type ", type);
}

void dequantize(GgmlType type, const std::byte* in, std::size_t blocks, float* out) {
  const auto format = ggml_format(static_cast<std::uint32_t>(type));
  R1_CHECK(format.has_value(), "no such ggml type: ", static_cast<unsigned>(type));
  const auto* p = reinterpret_cast<const Byte*>(in);
  for (std::size_t i = 0; i < blocks; ++i) one_block(type, p + i * format->block_bytes, out + i * format->block_elements);
}

}  // namespace r1
