// `r1 bench kernels`: speed of each kernel alone, one JSON line a case on standard output, beside ceilings measured in the same run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace r1 {

struct KernelBenchOptions {
  std::string only;       // cases whose name holds this text; empty = all
  int threads = 0;        // of the CPU; 0 = all usable cores
  double seconds = 0.25;  // of the CPU, each case
  std::string isa;        // of the CPU: portable, avx2, avx512, avx512-bf16, amx; empty = the best here
  // A layer's shape, of the GPU's cases.
  std::int64_t hidden = 896, intermediate = 4864, heads = 14, kv_heads = 2, head_dim = 64, vocabulary = 151936;
  std::vector<std::int64_t> rows = {1, 8, 64, 256};  // of a decoding step: products and attention
  bool tiles = false;                                // each tile of small_gemm(), not the chosen one alone

  bool wants(const std::string& name) const { return only.empty() || name.find(only) != std::string::npos; }
};

// On the shapes of SmolLM2-135M. Throws ConfigError for an unknown instruction set.
void bench_cpu_kernels(const KernelBenchOptions& options);

// Many calls in one CUDA graph, so that launches cost what they cost in a decoding step; arrays of a case are rotated so that together
// they exceed the L2 cache, where memory allows. Throws DeviceError without a GPU.
void bench_gpu_kernels(const KernelBenchOptions& options);

}  // namespace r1
