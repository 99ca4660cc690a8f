// Bytes of the optimizer's state in each format, names, and the order in which accuracy is given up.
#include "rl/optimizer_format.h"

#include <doctest/doctest.h>

#include "core/error.h"

namespace r1 {

TEST_CASE("bytes a parameter: 16 in float32, 14 with a split master, 8 with 8-bit moments, 6 with a bfloat16 gradient") {
  constexpr std::int64_t kN = 1 << 20;
  using M = MasterFormat;
  using V = MomentFormat;
  using G = GradientFormat;
  CHECK(OptimizerFormat{}.bytes(kN, 10) == 16 * kN);
  CHECK(OptimizerFormat{M::kSplit, V::kFloat32, G::kFloat32}.bytes(kN, 10) == 14 * kN);
  // Two scales for each block of 256, and for each tensor's last one.
  CHECK(OptimizerFormat{M::kFloat32, V::k8Bit, G::kFloat32}.bytes(kN, 10) == 10 * kN + 2 * (4096 + 11));
  CHECK(OptimizerFormat{M::kSplit, V::k8Bit, G::kFloat32}.bytes(kN, 10) == 8 * kN + 2 * (4096 + 11));
  CHECK(OptimizerFormat{M::kSplit, V::k8Bit, G::kBFloat16}.bytes(kN, 10) == 6 * kN + 2 * (4096 + 11));
  CHECK(OptimizerFormat{M::kFloat32, V::kFloat32, G::kBFloat16}.bytes(kN, 10) == 14 * kN);
  CHECK(OptimizerFormat{.gradient_only = true}.bytes(kN, 10) == 4 * kN);
  OptimizerWishes lora;
  lora.gradient_only = true;
  CHECK(choose_optimizer_format(lora, kN, 10, 4 * kN) == OptimizerFormat{.gradient_only = true});
  CHECK(choose_optimizer_format(lora, kN, 10, 4 * kN - 1) == OptimizerFormat{.gradients = G::kBFloat16, .gradient_only = true});
  // A step: all in, all but the gradient out.
  CHECK(OptimizerFormat{}.step_bytes(kN) == 30.0 * kN);
  CHECK(OptimizerFormat{M::kSplit, V::kFloat32, G::kFloat32}.step_bytes(kN) == 28.0 * kN);
  CHECK(OptimizerFormat{M::kSplit, V::k8Bit, G::kBFloat16}.step_bytes(kN) == doctest::Approx(14.0 * kN).epsilon(0.002));
}

TEST_CASE("offloaded: the host has master and moments, the device the gradient and three pieces; moments stay float32 however little fits") {
  constexpr std::int64_t kN = 1 << 20;
  OptimizerFormat f{.offload = true};
  CHECK(f.host_bytes(kN) == 12 * kN);
  CHECK(f.bytes(kN, 10) == 4 * kN + 3 * 12 * kN);  // pieces are no larger than the whole
  f.offload_piece = 1 << 12;
  CHECK(f.bytes(kN, 10) == 4 * kN + 3 * 12 * 4096);
  CHECK(f.bytes(kN, 10, 0) == 4 * kN);  // a rank that owns nothing
  f.master = MasterFormat::kSplit;
  CHECK(f.host_bytes(kN) == 10 * kN);
  OptimizerWishes wishes;
  wishes.offload = true;
  CHECK(choose_optimizer_format(wishes, kN, 10, 0) == OptimizerFormat{.gradients = GradientFormat::kBFloat16, .offload = true});
  wishes.master = MasterFormat::kSplit;
  CHECK(choose_optimizer_format(wishes, kN, 10, SIZE_MAX) == OptimizerFormat{.master = MasterFormat::kSplit, .offload = true});
  CHECK(parse_offload("optimizer"));
  CHECK_THROWS_WITH_AS(parse_offload("all"), doctest::Contains("it can be none, optimizer"), ConfigError);
}

TEST_CASE("the scales of a tensor's blocks never meet the next tensor's") {
  std::int64_t offset = 0, tensor = 0, end = 0;
  for (const std::int64_t n : {1, 255, 256, 257, 8, 4096, 7, 511, 513, 1}) {
    const std::int64_t first = offset / 256 + tensor;
    CHECK(first >= end);
    end = first + (n + 255) / 256;
    offset += n, ++tensor;
  }
  CHECK(end <= moment_scales(offset, tensor));
}

TEST_CASE("names of the formats; an unknown one names the choices") {
  CHECK(parse_master_format("split") == MasterFormat::kSplit);
  CHECK(parse_moment_format("8bit") == MomentFormat::k8Bit);
  CHECK(parse_gradient_format("bfloat16") == GradientFormat::kBFloat16);
  CHECK(parse_gradient_format("float32") == GradientFormat::kFloat32);
  CHECK_FALSE(parse_master_format("auto").has_value());
  CHECK_THROWS_WITH_AS(parse_moment_format("4bit"), doctest::Contains("it can be auto, float32, 8bit"), ConfigError);
  CHECK_FALSE(OptimizerWishes{}.asks_for_packed());
  CHECK_FALSE(OptimizerWishes{MasterFormat::kFloat32, {}, {}}.asks_for_packed());
  CHECK(OptimizerWishes{{}, MomentFormat::k8Bit, {}}.asks_for_packed());
}

}  // namespace r1
