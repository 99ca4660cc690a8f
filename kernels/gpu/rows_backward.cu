// Backward operations on rows: element by element, and gathers of rows. Sums over rows are in row_sums.cu.
#include "kernels/gpu/common.cuh"

namespace r1::gpu {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) swiglu_backward_kernel(const bf16* __restrict__ d_out, const bf16* __restrict__ gate_up, u32 n,
                                                                   u32 f, bf16* __restrict__ d_gate_up, bf16* __restrict__ out) {
  const u32 item = blockIdx.x * kThreads + threadIdx.x, pieces = f / 8, row = item / pieces;
  if (row >= n) return;
  const u32 column = (item - row * pieces) * 8;
  const i64 gate = static_cast<i64>(row) * 2 * f + column, at = static_cast<i64>(row) * f + column;
  float g[8], u[8], d[8], y[8];
  load8(gate_up + gate, g), load8(gate_up + gate + f, u), load8(d_out + at, d);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const float sg = sigmoid(g[i]), silu = __fmul_rn(g[i], sg);
    y[i] = __fmul_rn(silu, u[i]);
    // d silu / dg = s (1 + g (1 - s))
    g[i] = __fmul_rn(__fmul_rn(d[i], u[i]), __fmul_rn(sg, __fadd_rn(1.f, __fmul_rn(g[i], __fsub_rn(1.f, sg)))));
    u[i] = __fmul_rn(d[i], silu);
  }
  store8(d_gate_up + gate, g), store8(d_gate_up + gate + f, u);
  if (out != nullptr) store8(out + at, y);
}

// A block a group and tile of 4 * blockDim columns; rows are read some ahead, summed in their order.
template <class T>
__global__ void add_row_groups_kernel(T* __restrict__ to, const float* __restrict__ from, u32 d,
                                      const std::int32_t* __restrict__ target, const std::int32_t* __restrict__ first,
                                      const std::int32_t* __restrict__ order) {
  const u32 column = (blockIdx.y * blockDim.x + threadIdx.x) * 4;
  if (column >= d) return;
  const int begin = first[blockIdx.x], end = first[blockIdx.x + 1];
  if (begin >= end) return;
  constexpr int kAhead = 8;
  float4 sum{};
  int i = begin;
  for (; i + kAhead <= end; i += kAhead) {
    float4 v[kAhead];
#pragma unroll
    for (int j = 0; j < kAhead; ++j) v[j] = load4(from + static_cast<i64>(order[i + j]) * d + column);
#pragma unroll
    for (const float4& e : v) sum = plus(sum, e);
  }
  for (; i < end; ++i) sum = plus(sum, load4(from + static_cast<i64>(order[i]) * d + column));
  T* at = to + static_cast<i64>(target[blockIdx.x]) * d + column;
  store4(at, plus(load4(at), sum));
}

__global__ void __launch_bounds__(kThreads) scale_rows_bf16_kernel(const bf16* __restrict__ x, const float* __restrict__ c, u32 n, u32 d,
                                                                   bf16* __restrict__ out) {
  const u32 item = blockIdx.x * kThreads + threadIdx.x, row = item / (d / 8);
  if (row >= n) return;
  float v[8];
  load8(x + static_cast<i64>(item) * 8, v);
  const float scale = c[row];
#pragma unroll
  for (float& e : v) e = __fmul_rn(e, scale);
  store8(out + static_cast<i64>(item) * 8, v);
}

__global__ void __launch_bounds__(kThreads) scale_rows_kernel(float* x, const float* __restrict__ c, u32 n, u32 d) {
  const u32 item = blockIdx.x * kThreads + threadIdx.x, row = item / (d / 4);
  if (row >= n) return;
  float4 v = load4(x + static_cast<i64>(item) * 4);
  const float scale = c[row];
  v.x = __fmul_rn(v.x, scale), v.y = __fmul_rn(v.y, scale), v.z = __fmul_rn(v.z, scale), v.w = __fmul_rn(v.w, scale);
  store4(x + static_cast<i64>(item) * 4, v);
}

constexpr i64 kWidthLimit = i64{1} << 20;

template <class T>
void row_groups(Stream s, T* to, const float* from, i64 d, const std::int32_t* target, const std::int32_t* first,
                    const std::int32_t* order, i64 groups) {
  if (groups == 0) return;
  check_width(d, 8, kWidthLimit, "add_row_groups");
  const i64 pieces = d / 4, tiles = (pieces + 255) / 256, threads = ((pieces + tiles - 1) / tiles + 31) / 32 * 32;
  const dim3 grid(blocks_for(groups, 1, "add_row_groups"), static_cast<unsigned>(tiles));
  add_row_groups_kernel<<<grid, static_cast<unsigned>(threads), 0, s>>>(to, from, static_cast<u32>(d), target, first, order);
  check_launch("add_row_groups");
}

}  // namespace

void swiglu_backward(Stream s, const bf16* d_out, const bf16* gate_up, i64 n, i64 f, bf16* d_gate_up, bf16* out) {
  if (n == 0) return;
  check_width(f, 8, kWidthLimit, "swiglu_backward");
  swiglu_backward_kernel<<<blocks_for(n * (f / 8), kThreads, "swiglu_backward"), kThreads, 0, s>>>(
      d_out, gate_up, static_cast<u32>(n), static_cast<u32>(f), d_gate_up, out);
  check_launch("swiglu_backward");
}

void add_row_groups(Stream s, float* to, const float* from, i64 d, const std::int32_t* target, const std::int32_t* first,
                    const std::int32_t* order, i64 groups) {
  row_groups(s, to, from, d, target, first, order, groups);
}
void add_row_groups(Stream s, bf16* to, const float* from, i64 d, const std::int32_t* target, const std::int32_t* first,
                    const std::int32_t* order, i64 groups) {
  row_groups(s, to, from, d, target, first, order, groups);
}

void scale_rows(Stream s, const bf16* x, const float* c, i64 n, i64 d, bf16* out) {
  if (n == 0) return;
  check_width(d, 8, kWidthLimit, "scale_rows");
  scale_rows_bf16_kernel<<<blocks_for(n * (d / 8), kThreads, "scale_rows"), kThreads, 0, s>>>(x, c, static_cast<u32>(n),
                                                                                             static_cast<u32>(d), out);
  check_launch("scale_rows");
}

void scale_rows(Stream s, float* x, const float* c, i64 n, i64 d) {
  if (n == 0) return;
  check_width(d, 8, kWidthLimit, "scale_rows");
  scale_rows_kernel<<<blocks_for(n * (d / 4), kThreads, "scale_rows"), kThreads, 0, s>>>(x, c, static_cast<u32>(n), static_cast<u32>(d));
  check_launch("scale_rows");
}

}  // namespace r1::gpu
