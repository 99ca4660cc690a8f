// The parts of bench_gpu_kernels().
#pragma once

#include "bench/gpu_timing.h"
#include "bench/kernel_cases.h"

namespace r1 {

struct GpuBench {
  const KernelBenchOptions& options;
  gpu::OwnedStream& stream;
  double copy_bytes_per_s;  // read and written, measured in this run
  std::int64_t l2_bytes;
};

void gpu_row_cases(const GpuBench& b);         // norms, rotation, activations, embedding, keys and values; forward and backward
void gpu_array_cases(const GpuBench& b);       // optimizer, conversions, sums
void gpu_product_cases(const GpuBench& b);     // a decoding step's products
void gpu_attention_cases(const GpuBench& b);   // decoding, prefill, backward
void gpu_expert_cases(const GpuBench& b);      // "experts", "latent": of DeepSeek-V2-Lite
void gpu_vocabulary_cases(const GpuBench& b);  // sampling, log-probabilities, their gradient

}  // namespace r1
