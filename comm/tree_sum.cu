#include "comm/tree_sum.h"

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include "core/error.h"

namespace r1::gpu {
namespace {

constexpr int kMostParts = 64, kThreads = 256;

struct Parts { const void* at[kMostParts]; };

__device__ float load(const float* x, std::int64_t i) { return x[i]; }
__device__ float load(const __nv_bfloat16* x, std::int64_t i) { return __bfloat162float(x[i]); }
__device__ void store(float* x, std::int64_t i, float v) { x[i] = v; }
__device__ void store(__nv_bfloat16* x, std::int64_t i, float v) { x[i] = __float2bfloat16_rn(v); }

// A binary counter of partial sums is the tree: a node is added as soon as its neighbour of the same size is there.
template <class T>
__global__ void tree_sum(Parts parts, int count, T* out, std::int64_t n) {
  for (std::int64_t i = blockIdx.x * std::int64_t{kThreads} + threadIdx.x; i < n; i += std::int64_t{gridDim.x} * kThreads) {
    float sums[7];
    int depth = 0;
    for (int p = 0; p < count; ++p) {
      float v = load(static_cast<const T*>(parts.at[p]), i);
      for (int full = p; full & 1; full >>= 1) v = __fadd_rn(sums[--depth], v);
      sums[depth++] = v;
    }
    float v = sums[--depth];
    while (depth > 0) v = __fadd_rn(sums[--depth], v);
    store(out, i, v);
  }
}

template <class T>
void launch(Stream s, std::span<const std::byte* const> parts, std::byte* out, std::int64_t n) {
  Parts p{};
  for (std::size_t i = 0; i < parts.size(); ++i) p.at[i] = parts[i];
  const auto blocks = static_cast<int>(std::min<std::int64_t>((n + kThreads - 1) / kThreads, 132 * 16));
  tree_sum<T><<<blocks, kThreads, 0, s>>>(p, static_cast<int>(parts.size()), reinterpret_cast<T*>(out), n);
  check(cudaGetLastError(), "tree_sum");
}

}  // namespace

void add_in_tree(Stream s, DType type, std::span<const std::byte* const> parts, std::byte* out, std::int64_t n) {
  R1_CHECK(type == DType::kF32 || type == DType::kBF16, "a sum of ", safetensors_name(type));
  R1_CHECK(!parts.empty() && parts.size() <= kMostParts, "a sum of ", parts.size(), " parts");
  if (n <= 0) return;
  if (type == DType::kF32) launch<float>(s, parts, out, n);
  else launch<__nv_bfloat16>(s, parts, out, n);
}

}  // namespace r1::gpu
