// The GPU in a build without CUDA: there is none.
#include "apps/backend.h"
#include "core/error.h"
#include "kernels/gpu/device.h"

namespace r1 {

std::unique_ptr<Backend> make_gpu_backend(const BackendModel&) { throw DeviceError(gpu::unavailable_reason()); }
RowScorer make_gpu_scorer(const ModelConfig&, const WeightStore&, std::span<const float>, std::int64_t) { throw DeviceError(gpu::unavailable_reason()); }

}  // namespace r1
