// Sums over rows: gradients of norms and biases. A block sums a slice of rows in ascending order while it does the rest of the
// work on them, so that every input is read once; add_partials() then adds the slices' sums in a fixed order.
#include "kernels/gpu/common.cuh"
#include "kernels/gpu/scratch_bytes.h"

namespace r1::gpu {
namespace {

constexpr int kThreads = 256;

// ---- second stage -------------------------------------------------------------------------------------------------------
// 32 columns a block; thread (x, y) adds the slices y, y + 32, ... of column x, then the 32 sums are added in order.
// Many loads are under way at once: the partial rows lie in the L2 cache, and few blocks share the work.
constexpr u32 kColumns = 32, kChains = 32, kAhead = 16;
__global__ void __launch_bounds__(kColumns * kChains) add_partials_kernel(const float* __restrict__ partials, u32 ld, u32 slices, u32 width,
                                                                        float* __restrict__ out) {
  __shared__ float shared[kChains][kColumns];
  const u32 column = blockIdx.x * kColumns + threadIdx.x;
  float sum = 0.f;
  if (column < width) {
    u32 i = threadIdx.y;
    for (; i + (kAhead - 1) * kChains < slices; i += kAhead * kChains) {
      float v[kAhead];
#pragma unroll
      for (u32 j = 0; j < kAhead; ++j) v[j] = partials[static_cast<i64>(i + j * kChains) * ld + column];
#pragma unroll
      for (float e : v) sum = __fadd_rn(sum, e);
    }
    for (; i < slices; i += kChains) sum = __fadd_rn(sum, partials[static_cast<i64>(i) * ld + column]);
  }
  shared[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= width) return;
  for (u32 i = 1; i < kChains; ++i) sum = __fadd_rn(sum, shared[i][threadIdx.x]);
  out[column] = __fadd_rn(out[column], sum);
}

// ---- rms_norm -----------------------------------------------------------------------------------------------------------
// One element: x becomes xhat, dot += w dy xhat, dw += dy * (xhat as the forward pass rounded it).
__device__ __forceinline__ void norm_take(float& x, float dy, float w, float rstd, float& dot, float& dw) {
  x = __fmul_rn(x, rstd);
  dot = __fmaf_rn(__fmul_rn(dy, w), x, dot);
  dw = __fmaf_rn(dy, rounded(x), dw);
}
// dx = rstd (w dy - xhat mean(w dy xhat))
__device__ __forceinline__ float norm_dx(float xhat, float dy, float w, float mean, float rstd) {
  return __fmul_rn(__fsub_rn(__fmul_rn(dy, w), __fmul_rn(xhat, mean)), rstd);
}
__device__ __forceinline__ void norm_take(float4& x, float4 dy, float4 w, float rstd, float& dot, float4& dw) {
  norm_take(x.x, dy.x, w.x, rstd, dot, dw.x);
  norm_take(x.y, dy.y, w.y, rstd, dot, dw.y);
  norm_take(x.z, dy.z, w.z, rstd, dot, dw.z);
  norm_take(x.w, dy.w, w.w, rstd, dot, dw.w);
}
__device__ __forceinline__ float4 norm_dx(float4 xhat, float4 dy, float4 w, float mean, float rstd) {
  return make_float4(norm_dx(xhat.x, dy.x, w.x, mean, rstd), norm_dx(xhat.y, dy.y, w.y, mean, rstd),
                     norm_dx(xhat.z, dy.z, w.z, mean, rstd), norm_dx(xhat.w, dy.w, w.w, mean, rstd));
}

// The threads of one row (common.cuh) walk through a slice, the next row's loads under way while a row is worked on.
// At most 64 registers, so that all slices of a narrow row are resident at once; adding spills three of them.
template <bool kStore>
__global__ void __launch_bounds__(1024) rms_norm_backward_kernel(const bf16* __restrict__ dy, const float* __restrict__ x,
                                                                 const std::int32_t* __restrict__ rows, const float* __restrict__ rstd,
                                                                 const bf16* __restrict__ w, u32 n, u32 d, u32 slice_rows,
                                                                 float* __restrict__ d_x, float* __restrict__ partials) {
  __shared__ float shared[2][32];
  const u32 slice = blockIdx.x * blockDim.y + threadIdx.y, begin = slice * slice_rows;
  if (begin >= n) return;  // a whole warp, or nobody
  const u32 end = min(begin + slice_rows, n), a = threadIdx.x * 4, b = d / 2 + a;
  const bool mine = threadIdx.x < d / 8;
  float4 dwa{}, dwb{}, xa{}, xb{};
  uint2 wa{}, wb{}, da{}, db{};
  float scale = 0.f;
  const auto fetch = [&](u32 row) {
    scale = rstd[row];
    if (!mine) return;
    const float* xr = x + static_cast<i64>(rows == nullptr ? static_cast<std::int32_t>(row) : rows[row]) * d;
    const bf16* dr = dy + row * d;
    xa = load4(xr + a), xb = load4(xr + b);
    da = *reinterpret_cast<const uint2*>(dr + a), db = *reinterpret_cast<const uint2*>(dr + b);
  };
  if (mine) wa = *reinterpret_cast<const uint2*>(w + a), wb = *reinterpret_cast<const uint2*>(w + b);
  fetch(begin);
#pragma unroll 1
  for (u32 row = begin; row < end; ++row) {
    const float r = scale;
    const uint2 ga = da, gb = db;
    float dot = 0.f;
    norm_take(xa, widen(da), widen(wa), r, dot, dwa);
    norm_take(xb, widen(db), widen(wb), r, dot, dwb);
    float4 ha = xa, hb = xb;
    if (row + 1 < end) fetch(row + 1);
    float* out = d_x + row * d;
    float4 oa{}, ob{};
    if (!kStore && mine) oa = load4(out + a), ob = load4(out + b);
    const float mean = __fdiv_rn(row_sum(dot, shared[row & 1]), static_cast<float>(d));
    if (!mine) continue;
    ha = norm_dx(ha, widen(ga), widen(wa), mean, r), hb = norm_dx(hb, widen(gb), widen(wb), mean, r);
    if (!kStore) ha = plus(oa, ha), hb = plus(ob, hb);
    store4(out + a, ha), store4(out + b, hb);
  }
  float* partial = partials + static_cast<i64>(slice) * d;
  if (mine) store4(partial + a, dwa), store4(partial + b, dwb);
}

// ---- norms of heads -------------------------------------------------------------------------------------------------------
// Lanes as in the forward pass. The query heads of the slice first, then the key heads; partials [slices][2 * hd].
template <int kLanes>
__global__ void __launch_bounds__(kThreads) qk_norm_rope_backward_kernel(QkArgs p, bf16* d_qkv, u32 n, const bf16* __restrict__ raw,
                                                                         const float* __restrict__ rstd, u32 slice_rows,
                                                                         float* __restrict__ partials) {
  constexpr u32 kGroups = kThreads / kLanes;
  __shared__ float shared[kGroups][kLanes * 16];
  const u32 all = static_cast<u32>(p.heads + p.kv_heads), hd = static_cast<u32>(p.head_dim), half = hd / 2;
  const u32 group = threadIdx.x / kLanes, lane = threadIdx.x % kLanes, begin = blockIdx.x * slice_rows;
  const u32 rows = min(slice_rows, n - begin);
  const bool holds = lane * 16 < hd;
  for (int part = 0; part < 2; ++part) {
    const u32 heads = static_cast<u32>(part == 0 ? p.heads : p.kv_heads), first_head = part == 0 ? 0u : static_cast<u32>(p.heads);
    const bf16* norm = part == 0 ? p.q_norm : p.k_norm;
    float wa[8] = {}, wb[8] = {}, dwa[8] = {}, dwb[8] = {};
    if (holds) load8(norm + lane * 8, wa), load8(norm + half + lane * 8, wb);
    // All groups go round equally often, for the sums over lanes.
    for (u32 base = 0; base < rows * heads; base += kGroups) {
      const u32 item = base + group, row = begin + item / heads, head = first_head + item % heads;
      const bool mine = holds && item < rows * heads;
      bf16* at = d_qkv + static_cast<i64>(row) * p.ld + head * hd + lane * 8;
      const i64 index = static_cast<i64>(row) * all + head;
      float a[8] = {}, b[8] = {}, xa[8] = {}, xb[8] = {}, r = 0.f;
      if (mine) {
        float c[8], s[8];
        load8(at, a), load8(at + half, b);
        load8(raw + index * hd + lane * 8, xa), load8(raw + index * hd + half + lane * 8, xb);
        const i64 angle = static_cast<i64>(p.positions[row]) * half + lane * 8;
        load8(p.cos + angle, c), load8(p.sin + angle, s);
        r = rstd[index];
#pragma unroll
        for (int i = 0; i < 8; ++i) {
          const float ai = a[i];
          a[i] = __fadd_rn(__fmul_rn(ai, c[i]), __fmul_rn(b[i], s[i]));
          b[i] = __fsub_rn(__fmul_rn(b[i], c[i]), __fmul_rn(ai, s[i]));
        }
      }
      float dot = 0.f;
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        norm_take(xa[i], a[i], wa[i], r, dot, dwa[i]);
        norm_take(xb[i], b[i], wb[i], r, dot, dwb[i]);
      }
      const float mean = __fdiv_rn(lane_sum<kLanes>(dot), static_cast<float>(hd));
#pragma unroll
      for (int i = 0; i < 8; ++i) a[i] = norm_dx(xa[i], a[i], wa[i], mean, r), b[i] = norm_dx(xb[i], b[i], wb[i], mean, r);
      if (mine) store8(at, a), store8(at + half, b);
    }
    __syncthreads();  // the first part's sums have been read
    if (holds) {
#pragma unroll
      for (int i = 0; i < 8; ++i) shared[group][lane * 8 + i] = dwa[i], shared[group][half + lane * 8 + i] = dwb[i];
    }
    __syncthreads();
    if (threadIdx.x < hd) {
      float sum = shared[0][threadIdx.x];
      for (u32 g = 1; g < kGroups; ++g) sum = __fadd_rn(sum, shared[g][threadIdx.x]);
      partials[(static_cast<i64>(blockIdx.x) * 2 + part) * hd + threadIdx.x] = sum;
    }
  }
}

// ---- biases -----------------------------------------------------------------------------------------------------------------
// A block a slice of rows and 32 pieces of 8 columns; thread row y takes the rows y, y + 8, ... of the slice.
constexpr int kBiasPieces = 32, kBiasChains = kThreads / kBiasPieces;
__global__ void __launch_bounds__(kThreads) bias_gradient_kernel(const bf16* __restrict__ dy, u32 n, i64 ld, u32 width, u32 slice_rows,
                                                                 float* __restrict__ partials) {
  __shared__ float shared[kBiasChains][kBiasPieces * 8];
  const u32 column = (blockIdx.x * kBiasPieces + threadIdx.x) * 8, begin = blockIdx.y * slice_rows, end = min(begin + slice_rows, n);
  float sum[8] = {};
  if (column < width) {
#pragma unroll 4
    for (u32 row = begin + threadIdx.y; row < end; row += kBiasChains) {
      float v[8];
      load8(dy + row * ld + column, v);
#pragma unroll
      for (int i = 0; i < 8; ++i) sum[i] = __fadd_rn(sum[i], v[i]);
    }
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) shared[threadIdx.y][threadIdx.x * 8 + i] = sum[i];
  __syncthreads();
  const u32 mine = threadIdx.y * kBiasPieces + threadIdx.x, out = blockIdx.x * kBiasPieces * 8 + mine;
  if (out >= width) return;
  float total = shared[0][mine];
  for (int i = 1; i < kBiasChains; ++i) total = __fadd_rn(total, shared[i][mine]);
  partials[static_cast<i64>(blockIdx.y) * width + out] = total;
}

}  // namespace

void add_partials(Stream s, const float* partials, i64 ld, i64 slices, i64 width, float* out) {
  add_partials_kernel<<<blocks_for(width, kColumns, "add_partials"), dim3(kColumns, kChains), 0, s>>>(
      partials, static_cast<u32>(ld), static_cast<u32>(slices), static_cast<u32>(width), out);
  check_launch("add_partials");
}

static_assert(kMaxSlices == kRowSumSlices, "row_sum_scratch_bytes() is of other kernels");

void rms_norm_backward(Stream s, const bf16* dy, const float* x, const std::int32_t* rows, const float* rstd, const bf16* w, i64 n, i64 d,
                       float* d_x, bool store, float* dw, void* scratch) {
  if (n == 0) return;
  check_width(d, 8, kMaxRowWidth, "rms_norm_backward");
  const Slices slices = slices_of(n, kMaxSlices);
  const dim3 threads = row_threads(d);
  auto* partials = static_cast<float*>(scratch);
  const auto launch = [&]<bool kStore>() {
    rms_norm_backward_kernel<kStore><<<blocks_for(slices.count, static_cast<int>(threads.y), "rms_norm_backward"), threads, 0, s>>>(
        dy, x, rows, rstd, w, static_cast<u32>(n), static_cast<u32>(d), static_cast<u32>(slices.rows), d_x, partials);
  };
  if (store) launch.operator()<true>();
  else launch.operator()<false>();
  check_launch("rms_norm_backward");
  add_partials(s, partials, d, slices.count, d, dw);
}

void qk_norm_rope_backward(Stream s, const QkArgs& args, bf16* d_qkv, i64 n, const bf16* raw, const float* rstd, float* dq_norm,
                           float* dk_norm, void* scratch) {
  if (n == 0) return;
  check_width(args.head_dim, 16, 256, "qk_norm_rope_backward");
  R1_CHECK((args.q_norm == nullptr) == (args.k_norm == nullptr), "norms of queries and keys come together");
  if (args.q_norm == nullptr) return rotate_heads(s, args, d_qkv, n, nullptr, nullptr, -1.f);
  const Slices slices = slices_of(n, kMaxSlices / 2);
  auto* partials = static_cast<float*>(scratch);
  const auto launch = [&]<int kLanes>() {
    qk_norm_rope_backward_kernel<kLanes><<<static_cast<unsigned>(slices.count), kThreads, 0, s>>>(
        args, d_qkv, static_cast<u32>(n), raw, rstd, static_cast<u32>(slices.rows), partials);
  };
  if (args.head_dim <= 64) launch.operator()<4>();
  else if (args.head_dim <= 128) launch.operator()<8>();
  else launch.operator()<16>();
  check_launch("qk_norm_rope_backward");
  add_partials(s, partials, 2 * args.head_dim, slices.count, args.head_dim, dq_norm);
  add_partials(s, partials + args.head_dim, 2 * args.head_dim, slices.count, args.head_dim, dk_norm);
}

void bias_gradient(Stream s, const bf16* dy, i64 n, i64 ld, i64 width, float* db, void* scratch) {
  if (n == 0) return;
  check_width(width, 8, i64{1} << 20, "bias_gradient");
  const Slices slices = slices_of(n, kMaxSlices / 4);
  auto* partials = static_cast<float*>(scratch);
  const dim3 grid(blocks_for((width + 7) / 8, kBiasPieces, "bias_gradient"), static_cast<unsigned>(slices.count));
  bias_gradient_kernel<<<grid, dim3(kBiasPieces, kBiasChains), 0, s>>>(dy, static_cast<u32>(n), ld, static_cast<u32>(width),
                                                                      static_cast<u32>(slices.rows), partials);
  check_launch("bias_gradient");
  add_partials(s, partials, width, slices.count, width, db);
}

}  // namespace r1::gpu
