#include "bench/gpu_kernel_cases.h"

#include <cstdio>

namespace r1 {

void bench_gpu_kernels(const KernelBenchOptions& options) {
  const gpu::DeviceInfo info = gpu::device_info();
  gpu::OwnedStream stream;
  const GpuBench b{options, stream, gpu::measured_bandwidth(), static_cast<std::int64_t>(info.l2_bytes)};
  std::printf("{\"case\":\"ceilings\",\"device\":\"%s\",\"multiprocessors\":%d,\"l2_mib\":%zu,\"free_mib\":%zu,\"copy_gb_s\":%.0f}\n", info.name.c_str(),
              info.multiprocessors, info.l2_bytes >> 20, info.memory_free >> 20, b.copy_bytes_per_s * 1e-9);
  gpu_product_cases(b);
  gpu_attention_cases(b);
  gpu_expert_cases(b);
  gpu_vocabulary_cases(b);
  gpu_row_cases(b);
  gpu_array_cases(b);
}

}  // namespace r1
