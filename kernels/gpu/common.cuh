// Private to kernels/gpu: launches, bfloat16 in registers, sums in a fixed order. For .cu files.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>

#include "core/error.h"
#include "kernels/gpu/device.h"
#include "kernels/gpu/gpu.h"

namespace r1::gpu {

using i64 = std::int64_t;
using u32 = std::uint32_t;

// Programmatic dependent launch, from Hopper on: the next kernel may start its prologue, and waits for the memory of those before.
__device__ __forceinline__ void let_next_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}
__device__ __forceinline__ void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// The kernel calls wait_for_previous() before it reads or writes what others touch.
template <class... Parameters, class... Arguments>
void launch_early(Stream s, void (*kernel)(Parameters...), dim3 grid, dim3 threads, std::size_t shared, Arguments... arguments) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid, config.blockDim = threads, config.dynamicSmemBytes = shared, config.stream = s;
  config.attrs = &attribute, config.numAttrs = 1;
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), "a launch");
}

inline void check_launch(const char* kernel) { check(cudaGetLastError(), kernel); }

// Blocks of `threads` for `items`, one a thread; indices within kernels are 32-bit.
inline unsigned blocks_for(i64 items, int threads, const char* kernel) {
  if (items >= (i64{1} << 32) - 1024)
    throw DeviceError(message(kernel, ": ", items, " pieces of work, the limit is 2^32: split the batch"));
  return static_cast<unsigned>((items + threads - 1) / threads);
}
inline void check_width(i64 d, i64 multiple, i64 limit, const char* kernel) {
  if (d < multiple || d % multiple != 0 || d > limit)
    throw DeviceError(message(kernel, ": width ", d, " is not supported: a multiple of ", multiple, " up to ", limit));
}

// ---- bfloat16: two in a word, the first in the low half -----------------------------------------------------------------
__device__ __forceinline__ float low(u32 w) { return __uint_as_float(w << 16); }
__device__ __forceinline__ float high(u32 w) { return __uint_as_float(w & 0xffff0000u); }
__device__ __forceinline__ u32 pack(float a, float b) {
  const __nv_bfloat162 v = __floats2bfloat162_rn(a, b);
  return *reinterpret_cast<const u32*>(&v);
}
__device__ __forceinline__ float rounded(float v) { return __bfloat162float(__float2bfloat16_rn(v)); }

__device__ __forceinline__ void load8(const bf16* p, float (&v)[8]) {
  const uint4 w = *reinterpret_cast<const uint4*>(p);
  v[0] = low(w.x), v[1] = high(w.x), v[2] = low(w.y), v[3] = high(w.y);
  v[4] = low(w.z), v[5] = high(w.z), v[6] = low(w.w), v[7] = high(w.w);
}
__device__ __forceinline__ void load8(const float* p, float (&v)[8]) {
  const float4 a = *reinterpret_cast<const float4*>(p), b = *reinterpret_cast<const float4*>(p + 4);
  v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w, v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
}
__device__ __forceinline__ void store8(bf16* p, const float (&v)[8]) {
  *reinterpret_cast<uint4*>(p) = make_uint4(pack(v[0], v[1]), pack(v[2], v[3]), pack(v[4], v[5]), pack(v[6], v[7]));
}
__device__ __forceinline__ float4 widen(uint2 w) { return make_float4(low(w.x), high(w.x), low(w.y), high(w.y)); }
__device__ __forceinline__ float4 load4(const bf16* p) { return widen(*reinterpret_cast<const uint2*>(p)); }
__device__ __forceinline__ float4 load4(const float* p) { return *reinterpret_cast<const float4*>(p); }
__device__ __forceinline__ void store4(bf16* p, float4 v) { *reinterpret_cast<uint2*>(p) = make_uint2(pack(v.x, v.y), pack(v.z, v.w)); }
__device__ __forceinline__ void store4(float* p, float4 v) { *reinterpret_cast<float4*>(p) = v; }

__device__ __forceinline__ float4 plus(float4 a, float4 b) {
  return make_float4(__fadd_rn(a.x, b.x), __fadd_rn(a.y, b.y), __fadd_rn(a.z, b.z), __fadd_rn(a.w, b.w));
}
// 2^x by the special function unit; 2^0 is exactly 1, 2^-inf exactly 0.
__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;\n" : "=f"(y) : "f"(x));
  return y;
}
// 1 / (1 + exp(-x)); exp overflows to infinity for very negative x, which gives 0 as it should.
__device__ __forceinline__ float sigmoid(float x) { return __frcp_rn(__fadd_rn(1.f, expf(-x))); }

// ---- sums: the order depends on the number of lanes alone ---------------------------------------------------------------
// Over groups of kLanes neighbouring lanes (a power of two); every lane gets the same bits. All lanes of the warp take part.
template <int kLanes> __device__ __forceinline__ float lane_sum(float v) {
#pragma unroll
  for (int step = kLanes / 2; step > 0; step /= 2) v = __fadd_rn(v, __shfl_xor_sync(0xffffffffu, v, step));
  return v;
}

// ---- a row of width d on row_threads(d) threads ---------------------------------------------------------------------------
// Thread t < d / 8 holds elements [4t, 4t + 4) and d/2 + [4t, 4t + 4): accesses of a warp lie side by side. Rows of at most
// 256 take a warp, four to a block; wider rows take a block.
inline constexpr i64 kMaxRowWidth = 8192;
inline dim3 row_threads(i64 d) {
  const unsigned threads = static_cast<unsigned>((d / 8 + 31) / 32 * 32);
  return threads == 32 ? dim3(32, 4) : dim3(threads, 1);
}
// Sum over the threads of a row; every thread gets the same bits. `shared` has 32 floats that nobody reads any more: between
// two calls with the same ones lies a barrier.
__device__ __forceinline__ float row_sum(float v, float* shared) {
  v = lane_sum<32>(v);
  if (blockDim.x == 32) return v;
  const unsigned warps = blockDim.x >> 5, lane = threadIdx.x & 31;
  if (lane == 0) shared[threadIdx.x >> 5] = v;
  __syncthreads();
  return lane_sum<32>(lane < warps ? shared[lane] : 0.f);
}

// ---- sums over rows, in two stages ------------------------------------------------------------------------------------------
// n rows are cut into slices of `rows` rows: a function of n alone. Every slice is summed into a partial row, and
// add_partials() adds the partial rows.
inline constexpr i64 kMaxSlices = 1024;
struct Slices {
  int rows = 0, count = 0;
};
inline Slices slices_of(i64 n, i64 most) {
  const i64 rows = std::max<i64>(4, (n + most - 1) / most);
  return {static_cast<int>(rows), static_cast<int>((n + rows - 1) / rows)};
}
// The rotation of qk_norm_rope() with the norms of args, sign = -1 for its inverse.
void rotate_heads(Stream s, const QkArgs& args, bf16* qkv, i64 n, bf16* raw, float* rstd, float sign);
// out[j] += sum over slices of partials[slice][j], j < width.
void add_partials(Stream s, const float* partials, i64 ld, i64 slices, i64 width, float* out);

}  // namespace r1::gpu
