#include "bench/kernel_cases.h"
#include "core/error.h"
#include "kernels/gpu/device.h"

namespace r1 {

void bench_gpu_kernels(const KernelBenchOptions&) { throw DeviceError(gpu::unavailable_reason()); }

}  // namespace r1
