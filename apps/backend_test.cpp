// Which device a command runs on, and what is said where that cannot be.
#include "apps/backend.h"

#include <doctest/doctest.h>

#include <cstring>

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

TEST_CASE("a packed optimizer state is refused on the CPU, with the remedy") {
  ModelConfig config;
  config.model_type = "llama";
  config.hidden_size = 32, config.num_hidden_layers = 1, config.num_attention_heads = 2, config.num_key_value_heads = 1, config.head_dim = 16;
  config.intermediate_size = 64, config.vocab_size = 97, config.max_position_embeddings = 64;
  ComputePool pool(1);
  const auto backend = make_cpu_backend({config, DType::kBF16, {}, 0}, pool);
  BackendNeeds needs;
  needs.trains = true;
  needs.optimizer.moments = MomentFormat::k8Bit;
  CHECK_THROWS_WITH_AS(backend->make(needs, nullptr), doctest::Contains("device: cuda"), ConfigError);
  needs.optimizer.moments = MomentFormat::kFloat32;
  CHECK(backend->make(needs, nullptr).policy != nullptr);
}

TEST_CASE("a critic is made where it is asked for: a copy of the start weights with a head that starts at 0") {
  ModelConfig config = model_shape("smollm2-135m");
  config.hidden_size = 64, config.num_hidden_layers = 1, config.num_attention_heads = 4, config.num_key_value_heads = 2, config.head_dim = 16;
  config.intermediate_size = 96, config.vocab_size = 50;
  ComputePool pool(1);
  const auto backend = make_cpu_backend({config, DType::kBF16, {}, 0}, pool);
  BackendNeeds needs;
  needs.trains = needs.critic = true;
  const BackendParts parts = backend->make(needs, nullptr);
  REQUIRE(parts.critic);
  CHECK_FALSE(parts.reference);
  CHECK(parts.memory.size() == 2);
  PackedBatch batch;
  batch.tokens = {3, 4, 5}, batch.positions = {0, 1, 2}, batch.sequences = {{0, 3, -1, -1}};
  const std::vector<std::int32_t> rows = {0, 2};
  CHECK(parts.critic->evaluate(batch, rows) == std::vector<float>{0, 0});
  // The backbone's weights are the policy's, in memory of its own.
  const WeightSnapshot policy = parts.policy->weights(0), critic = parts.critic->weights(0);
  REQUIRE(critic.tensors.size() == policy.tensors.size() + 1);
  CHECK(critic.tensors[0].data != policy.tensors[0].data);
  CHECK(std::memcmp(critic.tensors[0].data, policy.tensors[0].data, policy.tensors[0].bytes()) == 0);
}

}  // namespace r1
