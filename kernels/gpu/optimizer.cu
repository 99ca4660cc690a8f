// AdamW in one pass, and reductions over long arrays in two stages. Their order is a function of n alone.
#include "core/split_float.h"
#include "kernels/gpu/adamw.cuh"
#include "kernels/gpu/packed_adamw.h"

namespace r1::gpu {
namespace {

constexpr int kThreads = 256;
constexpr i64 kMaxBlocks = 1024;

__global__ void __launch_bounds__(kThreads) adamw_kernel(float* __restrict__ p, float* __restrict__ m, float* __restrict__ v,
                                                         const float* __restrict__ g, bf16* __restrict__ live, i64 n, AdamWScalars a) {
  const i64 i = (static_cast<i64>(blockIdx.x) * kThreads + threadIdx.x) * 4;
  if (i + 4 <= n) {
    float4 pv = load4(p + i), mv = load4(m + i), vv = load4(v + i);
    const float4 gv = load4(g + i);
    adamw_one(a, pv.x, mv.x, vv.x, gv.x);
    adamw_one(a, pv.y, mv.y, vv.y, gv.y);
    adamw_one(a, pv.z, mv.z, vv.z, gv.z);
    adamw_one(a, pv.w, mv.w, vv.w, gv.w);
    store4(p + i, pv), store4(m + i, mv), store4(v + i, vv);
    if (live != nullptr) store4(live + i, pv);
    return;
  }
  for (i64 j = i; j < n; ++j) {
    adamw_one(a, p[j], m[j], v[j], g[j]);
    if (live != nullptr) live[j] = static_cast<bf16>(pack(p[j], 0.f));
  }
}

// What is reduced: float32, bfloat16, or a master in halves.
struct Floats {
  const float* x;
  __device__ float4 four(i64 i) const { return load4(x + i); }
  __device__ float one(i64 i) const { return x[i]; }
};
struct Bf16s {
  const bf16* x;
  __device__ float4 four(i64 i) const { return load4(x + i); }
  __device__ float one(i64 i) const { return low(x[i]); }
};
struct Masters {
  const bf16* live;
  const std::int16_t* rest;
  __device__ float one(i64 i) const { return __uint_as_float(join_float({live[i], rest[i]})); }
  __device__ float4 four(i64 i) const {
    const uint2 h = *reinterpret_cast<const uint2*>(live + i), r = *reinterpret_cast<const uint2*>(rest + i);
    const auto joined = [](u32 two_live, u32 two_rests, int shift) {
      return __uint_as_float(join_float({static_cast<std::uint16_t>(two_live >> shift), static_cast<std::int16_t>(two_rests >> shift)}));
    };
    return make_float4(joined(h.x, r.x, 0), joined(h.x, r.x, 16), joined(h.y, r.y, 0), joined(h.y, r.y, 16));
  }
};

struct SquareSum {
  using Value = double;
  static __device__ Value none() { return 0.0; }
  static __device__ Value take(Value sum, float x, i64) { return __fma_rn(static_cast<double>(x), static_cast<double>(x), sum); }
  static __device__ Value merge(Value a, Value b) { return __dadd_rn(a, b); }
  static __device__ Value result(Value v) { return v; }
};
struct FirstNonFinite {
  using Value = i64;
  static __device__ Value none() { return INT64_MAX; }
  static __device__ Value take(Value first, float x, i64 i) { return isfinite(x) || i > first ? first : i; }
  static __device__ Value merge(Value a, Value b) { return a < b ? a : b; }
  static __device__ Value result(Value v) { return v == INT64_MAX ? -1 : v; }
};

template <class Op> __device__ typename Op::Value block_merge(typename Op::Value v) {
  __shared__ typename Op::Value shared[kThreads];
  shared[threadIdx.x] = v;
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) shared[threadIdx.x] = Op::merge(shared[threadIdx.x], shared[threadIdx.x + half]);
  }
  return shared[0];  // right in thread 0
}

// Block b takes the elements [b, b + 1) * piece, piece a multiple of 4 * kThreads.
template <class Op, class Source> __global__ void __launch_bounds__(kThreads) reduce_kernel(Source x, i64 n, i64 piece, typename Op::Value* partial) {
  const i64 begin = blockIdx.x * piece, end = begin + piece < n ? begin + piece : n;
  typename Op::Value v = Op::none();
  i64 i = begin + threadIdx.x * 4;
#pragma unroll 4
  for (; i + 4 <= end; i += kThreads * 4) {
    const float4 a = x.four(i);
    v = Op::take(v, a.x, i), v = Op::take(v, a.y, i + 1), v = Op::take(v, a.z, i + 2), v = Op::take(v, a.w, i + 3);
  }
  for (; i < end; ++i) v = Op::take(v, x.one(i), i);  // at most one thread has a rest
  v = block_merge<Op>(v);
  if (threadIdx.x == 0) partial[blockIdx.x] = v;
}

template <class Op> __global__ void __launch_bounds__(kThreads) reduce_partials_kernel(const typename Op::Value* partial, int count, typename Op::Value* out) {
  typename Op::Value v = Op::none();
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads) v = Op::merge(v, partial[i]);
  v = block_merge<Op>(v);
  if (threadIdx.x == 0) *out = Op::result(v);
}

template <class Op, class Source> void reduce(Stream s, Source x, i64 n, typename Op::Value* out, void* scratch, const char* name) {
  constexpr i64 kUnit = 4 * kThreads;
  const i64 units = (n + kUnit - 1) / kUnit, piece = std::max<i64>(1, (units + kMaxBlocks - 1) / kMaxBlocks) * kUnit;
  const i64 blocks = (n + piece - 1) / piece;
  auto* partial = static_cast<typename Op::Value*>(scratch);
  if (blocks > 0) reduce_kernel<Op, Source><<<static_cast<unsigned>(blocks), kThreads, 0, s>>>(x, n, piece, partial);
  check_launch(name);
  reduce_partials_kernel<Op><<<1, kThreads, 0, s>>>(partial, static_cast<int>(blocks), out);
  check_launch(name);
}

}  // namespace

void adamw(Stream s, float* p, float* m, float* v, const float* g, bf16* live, i64 n, const AdamWArgs& a) {
  if (n == 0) return;
  adamw_kernel<<<blocks_for((n + 3) / 4, kThreads, "adamw"), kThreads, 0, s>>>(p, m, v, g, live, n, adamw_scalars(a));
  check_launch("adamw");
}

std::size_t reduce_scratch_bytes() { return kMaxBlocks * sizeof(double); }

void sum_of_squares(Stream s, const float* x, i64 n, double* out, void* scratch) { reduce<SquareSum>(s, Floats{x}, n, out, scratch, "sum_of_squares"); }
void sum_of_squares(Stream s, const bf16* x, i64 n, double* out, void* scratch) { reduce<SquareSum>(s, Bf16s{x}, n, out, scratch, "sum_of_squares"); }
void first_non_finite(Stream s, const float* x, i64 n, i64* out, void* scratch) {
  reduce<FirstNonFinite>(s, Floats{x}, n, out, scratch, "first_non_finite");
}
void first_non_finite(Stream s, const bf16* x, i64 n, i64* out, void* scratch) {
  reduce<FirstNonFinite>(s, Bf16s{x}, n, out, scratch, "first_non_finite");
}
void first_non_finite_split(Stream s, const bf16* live, const std::int16_t* rest, i64 n, i64* out, void* scratch) {
  reduce<FirstNonFinite>(s, Masters{live, rest}, n, out, scratch, "first_non_finite");
}

}  // namespace r1::gpu
