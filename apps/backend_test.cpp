// Which device a command runs on, and what is said where that cannot be.
#include "apps/backend.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "kernels/gpu/device.h"
#include "model/model_shapes.h"

namespace r1 {

TEST_CASE("the device: asked for, or found; a GPU that is not there is an error with its remedy") {
  const std::string none = "no usable CUDA device (none found): install NVIDIA's driver, or run with device: cpu";
  CHECK(choose_device("auto", DType::kBF16, "") == DeviceKind::kGpu);
  CHECK(choose_device("auto", DType::kF32, "") == DeviceKind::kCpu);
  CHECK(choose_device("auto", DType::kBF16, none) == DeviceKind::kCpu);
  CHECK(choose_device("cpu", DType::kBF16, "") == DeviceKind::kCpu);
  CHECK(choose_device("cuda", DType::kBF16, "") == DeviceKind::kGpu);
  CHECK_THROWS_WITH_AS(choose_device("cuda", DType::kBF16, none), doctest::Contains("device: cpu"), ConfigError);
  CHECK_THROWS_WITH_AS(choose_device("cuda", DType::kF32, ""), doctest::Contains("bfloat16"), ConfigError);
  CHECK_THROWS_WITH_AS(choose_device("gpu", DType::kBF16, ""), doctest::Contains("cuda"), ConfigError);
  if (gpu::available()) return;
  CHECK(choose_device("auto", DType::kBF16) == DeviceKind::kCpu);
  CHECK_THROWS_WITH_AS(choose_device("cuda", DType::kBF16), doctest::Contains(gpu::unavailable_reason().c_str()), ConfigError);
  CHECK_THROWS_WITH_AS(make_gpu_backend({model_shape("smollm2-135m"), DType::kBF16, {}, 0}), gpu::unavailable_reason().c_str(), DeviceError);
}

}  // namespace r1
