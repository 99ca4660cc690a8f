#include "model/element_convert.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "core/error.h"
#include "core/rng.h"

using namespace r1;

TEST_CASE("every float16 value survives a round trip") {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto h = static_cast<std::uint16_t>(bits);
    const float f = f16_to_float(h);
    if (std::isnan(f)) {
      CHECK(std::isnan(f16_to_float(float_to_f16(f))));
    } else if (float_to_f16(f) != h) {
      FAIL("float16 bits " << bits << " came back as " << float_to_f16(f));
    }
  }
  CHECK(f16_to_float(0x3C00) == 1.0f);
  CHECK(f16_to_float(0x0001) == 0x1p-24f);
  CHECK(f16_to_float(0x7BFF) == 65504.0f);
  CHECK(f16_to_float(0xFC00) == -std::numeric_limits<float>::infinity());
}

TEST_CASE("float16 and bfloat16 round to the nearest, ties to even") {
  StreamRng rng(1, 2);
  for (int i = 0; i < 200000; ++i) {
    const auto f = std::bit_cast<float>(static_cast<std::uint32_t>(rng.next()));
    if (std::isnan(f)) continue;
    const std::uint16_t b = float_to_bf16(f);
    if (std::isfinite(bf16_to_float(b))) {
      const double distance = std::fabs(static_cast<double>(f) - bf16_to_float(b));
      for (const int step : {-1, 1}) {
        const float other = bf16_to_float(static_cast<std::uint16_t>(b + step));
        if (!std::isfinite(other) || std::signbit(other) != std::signbit(f)) continue;
        const double theirs = std::fabs(static_cast<double>(f) - other);
        const bool wins = distance < theirs || (distance == theirs && b % 2 == 0);
        if (!wins) FAIL("bf16 of " << f);
      }
    }
    const float small = std::ldexp(static_cast<float>(static_cast<std::int64_t>(rng.next()) >> 24) * 0x1p-39f, static_cast<int>(rng.below(36)) - 22);
    const std::uint16_t h = float_to_f16(small);
    if (!std::isfinite(f16_to_float(h))) continue;
    const double distance = std::fabs(static_cast<double>(small) - f16_to_float(h));
    for (const int step : {-1, 1}) {
      const float other = f16_to_float(static_cast<std::uint16_t>(h + step));
      if (!std::isfinite(other) || std::signbit(other) != std::signbit(small)) continue;
      const double theirs = std::fabs(static_cast<double>(small) - other);
      if (!(distance < theirs || (distance == theirs && h % 2 == 0))) FAIL("f16 of " << small);
    }
  }
  CHECK(float_to_f16(65519.996f) == 0x7BFF);
  CHECK(float_to_f16(65520.0f) == 0x7C00);
  CHECK(float_to_f16(-1e30f) == 0xFC00);
  CHECK(float_to_f16(0x1p-25f) == 0);            // a tie with zero: even
  CHECK(float_to_f16(0x1.8p-25f) == 1);
  CHECK(float_to_bf16(1.00390625f) == 0x3F80);   // a tie
  CHECK(float_to_bf16(1.01171875f) == 0x3F82);
  CHECK(std::isnan(bf16_to_float(float_to_bf16(std::bit_cast<float>(0x7F800001u)))));
  CHECK(std::isinf(bf16_to_float(float_to_bf16(std::numeric_limits<float>::max()))));
}

TEST_CASE("arrays convert at any alignment") {
  const std::vector<float> in = {1.5f, -2.25f, 0.f, 3e-5f, 1e5f};
  std::vector<std::byte> raw(in.size() * 4 + 1), out(in.size() * 4 + 1);
  convert_elements(DType::kF32, in.data(), DType::kBF16, raw.data() + 1, in.size());
  convert_elements(DType::kBF16, raw.data() + 1, DType::kF32, out.data() + 1, in.size());
  float back[5];
  convert_elements(DType::kF32, out.data() + 1, DType::kF32, back, 5);
  for (std::size_t i = 0; i < 5; ++i) CHECK(back[i] == bf16_to_float(float_to_bf16(in[i])));
  convert_elements(DType::kF32, in.data(), DType::kF16, raw.data(), in.size());
  convert_elements(DType::kF16, raw.data(), DType::kBF16, out.data(), in.size());
  convert_elements(DType::kBF16, out.data(), DType::kF32, back, 5);
  CHECK(back[0] == 1.5f);
  CHECK(std::isinf(back[4]));
  CHECK_THROWS_AS(convert_elements(DType::kI8, raw.data(), DType::kF32, out.data(), 1), Error);
}
