// AdamW on packed state in one pass: a warp a block of 256 elements, so that a block's largest moment is known to it alone.
#include "core/moment8.h"
#include "core/split_float.h"
#include "core/spread.h"
#include "kernels/gpu/adamw.cuh"
#include "kernels/gpu/packed_adamw.h"

namespace r1::gpu {
namespace {

constexpr int kThreads = 256, kEach = 8;  // elements of a lane
static_assert(kMomentBlock == 32 * kEach);

// Eight numbers, or the `count` that there are.
template <class T> struct alignas(sizeof(T) * kEach < 16 ? sizeof(T) * kEach : 16) Eight { T at[kEach]; };
template <class T> __device__ __forceinline__ Eight<T> load(const T* p, int count) {
  if (count == kEach) return *reinterpret_cast<const Eight<T>*>(p);
  Eight<T> out{};
  // Unrolled, so that it stays in registers: with a loop of `count` steps over 16-bit numbers nvcc 13.0 lost some on a GPU.
#pragma unroll
  for (int j = 0; j < kEach; ++j)
    if (j < count) out.at[j] = p[j];
  return out;
}
template <class T> __device__ __forceinline__ void store(T* p, const Eight<T>& v, int count) {
  if (count == kEach) {
    *reinterpret_cast<Eight<T>*>(p) = v;
    return;
  }
#pragma unroll
  for (int j = 0; j < kEach; ++j)
    if (j < count) p[j] = v.at[j];
}
__device__ __forceinline__ bf16 bf16_bits(float v) { return __bfloat16_as_ushort(__float2bfloat16_rn(v)); }

// What a warp's block is about: elements of the arrays from `i` on, as many as there are up to `end`, the block's scale, the number that
// element 0 has for chance.
struct Place {
  i64 i, end, scale;
  std::uint64_t first;
  bool decays;
};
struct OneTensor {
  i64 n;
  std::uint64_t first;
  __device__ __forceinline__ bool has(i64 block) const { return block * kMomentBlock < n; }
  __device__ __forceinline__ Place at(i64 block) const { return {block * kMomentBlock, n, block, first, true}; }
};
struct ManyTensors {
  const PackedTensor* tensors;
  i64 count, blocks;
  __device__ __forceinline__ bool has(i64 block) const { return block < blocks; }
  __device__ __forceinline__ Place at(i64 block) const {
    i64 low = 0, high = count - 1;  // the last tensor that begins at or before the block
    while (low < high) {
      const i64 middle = (low + high + 1) / 2;
      if (tensors[middle].block <= block) low = middle;
      else high = middle - 1;
    }
    const PackedTensor t = tensors[low];
    return {t.first + (block - t.block) * kMomentBlock, t.first + t.n, t.scale + (block - t.block), 0, t.decays};
  }
};

// adamw_one() with a root and a division of 2^-22 relative error in place of exact ones, which cost more than all else: 8 bits of a moment
// know nothing of it, and no other device has the same numbers to be equal to.
__device__ __forceinline__ void adamw_one_quick(const AdamWScalars& a, float& p, float& m, float& v, float g) {
  const float grad = __fmul_rn(g, a.scale);
  m = __fmaf_rn(m, a.b1, __fmul_rn(grad, a.nb1));
  v = __fmaf_rn(v, a.b2, __fmul_rn(__fmul_rn(grad, grad), a.nb2));
  float root;
  asm("sqrt.approx.f32 %0, %1;" : "=f"(root) : "f"(v));
  p = __fsub_rn(__fmul_rn(p, a.decay), __fdividef(__fmul_rn(a.step, m), __fmaf_rn(root, a.root, a.eps)));
}

template <bool kSplit, bool kPackedMoments, bool kGradient16, class Tensors>
__global__ void __launch_bounds__(kThreads) packed_adamw_kernel(PackedAdamW t, Tensors tensors, AdamWScalars a, u32 key) {
  const i64 warp = static_cast<i64>(blockIdx.x) * (kThreads / 32) + (threadIdx.x >> 5);
  if (!tensors.has(warp)) return;  // whole warps
  const Place place = tensors.at(warp);
  const i64 block = place.scale, i = place.i + (threadIdx.x & 31) * kEach;
  const int count = static_cast<int>(place.end - i < 0 ? 0 : place.end - i < kEach ? place.end - i : kEach);
  if (!place.decays) a.decay = 1.f;
  Eight<float> p, m, v, g;
  if constexpr (kSplit) {
    const Eight<bf16> high = load(t.live + i, count);
    const Eight<std::int16_t> rest = load(t.rest + i, count);
#pragma unroll
    for (int j = 0; j < kEach; ++j) p.at[j] = __uint_as_float(join_float({high.at[j], rest.at[j]}));
  } else {
    p = load(t.master + i, count);
  }
  if constexpr (kPackedMoments) {
    const Eight<std::uint8_t> m8 = load(t.exp_avg8 + i, count), v8 = load(t.exp_avg_sq8 + i, count);
    const std::uint8_t m_scale = t.exp_avg_scale[block], v_scale = t.exp_avg_sq_scale[block];
#pragma unroll
    for (int j = 0; j < kEach; ++j) m.at[j] = decode_exp_avg(m8.at[j], m_scale), v.at[j] = decode_exp_avg_sq(v8.at[j], v_scale);
  } else {
    m = load(t.exp_avg + i, count), v = load(t.exp_avg_sq + i, count);
  }
  if constexpr (kGradient16) {
    const Eight<bf16> g16 = load(t.gradient16 + i, count);
#pragma unroll
    for (int j = 0; j < kEach; ++j) g.at[j] = low(g16.at[j]);
  } else {
    g = load(t.gradient + i, count);
  }
#pragma unroll
  for (int j = 0; j < kEach; ++j) {
    if constexpr (kPackedMoments) adamw_one_quick(a, p.at[j], m.at[j], v.at[j], g.at[j]);
    else adamw_one(a, p.at[j], m.at[j], v.at[j], g.at[j]);
  }

  if constexpr (kPackedMoments) {
    u32 m_most = 0, v_most = 0;  // where there is no element, all is 0
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      m_most = max(m_most, __float_as_uint(m.at[j]) & 0x7fffffffu);
      v_most = max(v_most, __float_as_uint(v.at[j]) & 0x7fffffffu);
    }
    const std::uint8_t m_scale = moment_scale(__reduce_max_sync(0xffffffffu, m_most)), v_scale = moment_scale(__reduce_max_sync(0xffffffffu, v_most));
    Eight<std::uint8_t> m8, v8;
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const MomentDither dither = moment_dither(place.first + static_cast<std::uint64_t>(i + j), key);
      m8.at[j] = encode_exp_avg(m.at[j], m_scale, dither.exp_avg), v8.at[j] = encode_exp_avg_sq(v.at[j], v_scale, dither.exp_avg_sq);
    }
    store(t.exp_avg8 + i, m8, count), store(t.exp_avg_sq8 + i, v8, count);
    if ((threadIdx.x & 31) == 0) t.exp_avg_scale[block] = m_scale, t.exp_avg_sq_scale[block] = v_scale;
  } else {
    store(t.exp_avg + i, m, count), store(t.exp_avg_sq + i, v, count);
  }
  Eight<bf16> high;
  if constexpr (kSplit) {
    Eight<std::int16_t> rest;
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const SplitFloat f = split_float(__float_as_uint(p.at[j]));
      high.at[j] = f.high, rest.at[j] = f.rest;
    }
    store(t.rest + i, rest, count);
  } else {
#pragma unroll
    for (int j = 0; j < kEach; ++j) high.at[j] = bf16_bits(p.at[j]);
    store(t.master + i, p, count);
  }
  store(t.live + i, high, count);
}

__global__ void __launch_bounds__(kThreads) rest_kernel(const bf16* __restrict__ live, std::int16_t* __restrict__ rest, i64 n, i64 first) {
  for (i64 i = static_cast<i64>(blockIdx.x) * kThreads + threadIdx.x; i < n; i += static_cast<i64>(gridDim.x) * kThreads) {
    const u32 bits = u32{live[i]} << 16;
    rest[i] = static_cast<std::int16_t>(static_cast<std::int32_t>(spread_in_cell(bits, static_cast<std::uint64_t>(first + i)) - bits));
  }
}

__global__ void __launch_bounds__(kThreads) add_rounded_kernel(bf16* __restrict__ to, const float* __restrict__ from, i64 pieces) {
  const i64 i = static_cast<i64>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= pieces) return;
  float a[8], b[8];
  load8(to + i * 8, a), load8(from + i * 8, b);
#pragma unroll
  for (int j = 0; j < 8; ++j) a[j] = __fadd_rn(a[j], b[j]);
  store8(to + i * 8, a);
}

template <class Tensors>
void launch(Stream s, const PackedAdamW& t, const Tensors& tensors, i64 blocks, const AdamWArgs& args, std::uint64_t update) {
  if (blocks == 0) return;
  const auto run = [&](auto kernel) {
    kernel<<<blocks_for(blocks, kThreads / 32, "adamw_packed"), kThreads, 0, s>>>(t, tensors, adamw_scalars(args), moment_key(update));
    check_launch("adamw_packed");
  };
  const auto by_gradient = [&](auto split, auto moments) {
    if (t.gradient16 != nullptr) run(packed_adamw_kernel<split(), moments(), true, Tensors>);
    else run(packed_adamw_kernel<split(), moments(), false, Tensors>);
  };
  const auto by_moments = [&](auto split) {
    if (t.exp_avg8 != nullptr) by_gradient(split, std::true_type{});
    else by_gradient(split, std::false_type{});
  };
  if (t.rest != nullptr) by_moments(std::true_type{});
  else by_moments(std::false_type{});
}

}  // namespace

void adamw_packed(Stream s, const PackedAdamW& t, i64 n, const AdamWArgs& args, std::uint64_t first, std::uint64_t update) {
  launch(s, t, OneTensor{n, first}, (n + kMomentBlock - 1) / kMomentBlock, args, update);
}
void adamw_packed(Stream s, const PackedAdamW& t, const PackedTensor* tensors, i64 count, i64 blocks, const AdamWArgs& args, std::uint64_t update) {
  launch(s, t, ManyTensors{tensors, count, blocks}, blocks, args, update);
}

void rest_from_live(Stream s, const bf16* live, std::int16_t* rest, i64 n, bool spread, i64 first) {
  if (n == 0) return;
  if (!spread) return fill_bytes(s, rest, 0, static_cast<std::size_t>(n) * sizeof *rest);
  rest_kernel<<<static_cast<unsigned>(std::min<i64>((n + kThreads - 1) / kThreads, 4096)), kThreads, 0, s>>>(live, rest, n, first);
  check_launch("rest_from_live");
}

void add_rounded(Stream s, bf16* to, const float* from, i64 n) {
  R1_CHECK(n % 8 == 0, n, " elements");
  if (n == 0) return;
  add_rounded_kernel<<<blocks_for(n / 8, kThreads, "add_rounded"), kThreads, 0, s>>>(to, from, n / 8);
  check_launch("add_rounded");
}

}  // namespace r1::gpu
