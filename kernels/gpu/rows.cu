// Conversions and the forward operations on rows.
#include "kernels/gpu/common.cuh"
#include "kernels/gpu/norm.cuh"

namespace r1::gpu {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) to_float_kernel(const bf16* __restrict__ in, float* __restrict__ out, i64 n) {
  const i64 i = (static_cast<i64>(blockIdx.x) * kThreads + threadIdx.x) * 4;
  if (i + 4 <= n) store4(out + i, load4(in + i));
  else
    for (i64 j = i; j < n; ++j) out[j] = low(in[j]);
}

__global__ void __launch_bounds__(kThreads) to_bf16_kernel(const float* __restrict__ in, bf16* __restrict__ out, i64 n) {
  const i64 i = (static_cast<i64>(blockIdx.x) * kThreads + threadIdx.x) * 4;
  if (i + 4 <= n) store4(out + i, load4(in + i));
  else
    for (i64 j = i; j < n; ++j) out[j] = static_cast<bf16>(pack(in[j], 0.f));
}

// One piece of four elements a thread.
__global__ void __launch_bounds__(kThreads) embed_kernel(const bf16* __restrict__ table, const std::int32_t* __restrict__ tokens,
                                                         const std::int32_t* __restrict__ last_token, u32 n, u32 d, float* __restrict__ out) {
  const u32 item = blockIdx.x * kThreads + threadIdx.x, pieces = d / 4, row = item / pieces;
  if (row >= n) return;
  const u32 column = (item - row * pieces) * 4;
  std::int32_t token = tokens[row];
  if (token < 0) token = last_token[-1 - token];
  store4(out + static_cast<i64>(row) * d + column, load4(table + static_cast<i64>(token) * d + column));
}

__device__ __forceinline__ float add_squares(float sum, float4 v) {
  return __fmaf_rn(v.w, v.w, __fmaf_rn(v.z, v.z, __fmaf_rn(v.y, v.y, __fmaf_rn(v.x, v.x, sum))));
}

__global__ void __launch_bounds__(1024) rms_norm_kernel(const float* __restrict__ x, const std::int32_t* __restrict__ rows, u32 n,
                                                        u32 d, const bf16* __restrict__ w, float eps, bf16* __restrict__ out,
                                                        float* __restrict__ rstd_out) {
  __shared__ float shared[32];
  const u32 row = blockIdx.x * blockDim.y + threadIdx.y;
  let_next_start();
  if (row >= n) return;  // a whole warp, or nobody
  const u32 a = threadIdx.x * 4, b = d / 2 + a;
  const bool mine = threadIdx.x < d / 8;
  wait_for_previous();
  const float* xr = x + static_cast<i64>(rows == nullptr ? static_cast<std::int32_t>(row) : rows[row]) * d;
  float4 xa{}, xb{}, wa{}, wb{};
  if (mine) xa = load4(xr + a), xb = load4(xr + b), wa = load4(w + a), wb = load4(w + b);
  const float rstd = rms_inverse(row_sum(add_squares(add_squares(0.f, xa), xb), shared), static_cast<float>(d), eps);
  bf16* y = out + static_cast<i64>(row) * d;
  if (mine) store4(y + a, normed(xa, rstd, wa)), store4(y + b, normed(xb, rstd, wb));
  if (rstd_out != nullptr && threadIdx.x == 0) rstd_out[row] = rstd;
}

// A head lies on kLanes lanes, of which hd / 16 hold something: lane l has elements [8l, 8l + 8) and their partners at hd/2.
// sign = -1 rotates back.
template <int kLanes>
__global__ void __launch_bounds__(kThreads) qk_norm_rope_kernel(QkArgs p, bf16* __restrict__ qkv, u32 n, bf16* __restrict__ raw,
                                                                float* __restrict__ rstd_out, float sign) {
  const u32 heads = static_cast<u32>(p.heads + p.kv_heads), hd = static_cast<u32>(p.head_dim), half = hd / 2;
  const u32 item = (blockIdx.x * kThreads + threadIdx.x) / kLanes, lane = threadIdx.x % kLanes;
  const u32 row = item / heads, head = item - row * heads;
  const bool mine = row < n && lane * 16 < hd;
  bf16* at = qkv + static_cast<i64>(row) * p.ld + head * hd + lane * 8;
  float a[8] = {}, b[8] = {}, c[8] = {}, s[8] = {};
  if (mine) {
    load8(at, a), load8(at + half, b);
    const i64 angle = static_cast<i64>(p.positions[row]) * half + lane * 8;
    load8(p.cos + angle, c), load8(p.sin + angle, s);
    if (raw != nullptr) {
      bf16* kept = raw + (static_cast<i64>(row) * heads + head) * hd + lane * 8;
      store8(kept, a), store8(kept + half, b);
    }
  }
  const bf16* norm = head < p.heads ? p.q_norm : p.k_norm;
  float sum = 0.f;  // lanes without a norm take part too: their warp may hold heads with one
#pragma unroll
  for (int i = 0; i < 8; ++i) sum = __fmaf_rn(b[i], b[i], __fmaf_rn(a[i], a[i], sum));
  sum = lane_sum<kLanes>(sum);
  if (!mine) return;
  if (norm != nullptr) {
    const float rstd = rms_inverse(sum, static_cast<float>(hd), p.eps);
    float wa[8], wb[8];
    load8(norm + lane * 8, wa), load8(norm + half + lane * 8, wb);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      a[i] = rounded(normed(a[i], rstd, wa[i]));
      b[i] = rounded(normed(b[i], rstd, wb[i]));
    }
    if (rstd_out != nullptr && lane == 0) rstd_out[static_cast<i64>(row) * heads + head] = rstd;
  }
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const float si = s[i] * sign, ai = a[i];
    a[i] = __fsub_rn(__fmul_rn(ai, c[i]), __fmul_rn(b[i], si));
    b[i] = __fadd_rn(__fmul_rn(b[i], c[i]), __fmul_rn(ai, si));
  }
  store8(at, a), store8(at + half, b);
}

__global__ void __launch_bounds__(kThreads) swiglu_kernel(const bf16* __restrict__ gate_up, u32 n, u32 f, bf16* __restrict__ out) {
  const u32 item = blockIdx.x * kThreads + threadIdx.x, pieces = f / 8, row = item / pieces;
  if (row >= n) return;
  const u32 column = (item - row * pieces) * 8;
  const bf16* gate = gate_up + static_cast<i64>(row) * 2 * f + column;
  float g[8], u[8];
  load8(gate, g), load8(gate + f, u);
#pragma unroll
  for (int i = 0; i < 8; ++i) g[i] = __fmul_rn(__fmul_rn(g[i], sigmoid(g[i])), u[i]);
  store8(out + static_cast<i64>(row) * f + column, g);
}

}  // namespace

bool runs_on_current_device() {
  cudaFuncAttributes attributes;
  return cudaFuncGetAttributes(&attributes, rms_norm_kernel) == cudaSuccess;
}

void to_float(Stream s, const bf16* in, float* out, i64 n) {
  if (n == 0) return;
  to_float_kernel<<<blocks_for((n + 3) / 4, kThreads, "to_float"), kThreads, 0, s>>>(in, out, n);
  check_launch("to_float");
}

void to_bf16(Stream s, const float* in, bf16* out, i64 n) {
  if (n == 0) return;
  to_bf16_kernel<<<blocks_for((n + 3) / 4, kThreads, "to_bf16"), kThreads, 0, s>>>(in, out, n);
  check_launch("to_bf16");
}

void embed(Stream s, const bf16* table, const std::int32_t* tokens, const std::int32_t* last_token, i64 n, i64 d, float* out) {
  if (n == 0) return;
  check_width(d, 8, i64{1} << 20, "embed");
  embed_kernel<<<blocks_for(n * (d / 4), kThreads, "embed"), kThreads, 0, s>>>(table, tokens, last_token, static_cast<u32>(n),
                                                                              static_cast<u32>(d), out);
  check_launch("embed");
}

void rms_norm(Stream s, const float* x, const std::int32_t* rows, i64 n, i64 d, const bf16* w, float eps, bf16* out, float* rstd) {
  if (n == 0) return;
  check_width(d, 8, kMaxRowWidth, "rms_norm");
  const dim3 threads = row_threads(d);
  launch_early(s, rms_norm_kernel, dim3(blocks_for(n, static_cast<int>(threads.y), "rms_norm")), threads, 0, x, rows, static_cast<u32>(n),
               static_cast<u32>(d), w, eps, out, rstd);
}

void rotate_heads(Stream s, const QkArgs& args, bf16* qkv, i64 n, bf16* raw, float* rstd, float sign) {
  if (n == 0) return;
  check_width(args.head_dim, 16, 256, "qk_norm_rope");
  const i64 heads = n * (args.heads + args.kv_heads);
  const auto launch = [&]<int kLanes>() {
    qk_norm_rope_kernel<kLanes><<<blocks_for(heads * kLanes, kThreads, "qk_norm_rope"), kThreads, 0, s>>>(
        args, qkv, static_cast<u32>(n), raw, rstd, sign);
  };
  if (args.head_dim <= 64) launch.operator()<4>();
  else if (args.head_dim <= 128) launch.operator()<8>();
  else launch.operator()<16>();
  check_launch("qk_norm_rope");
}

void qk_norm_rope(Stream s, const QkArgs& args, bf16* qkv, i64 n, bf16* raw, float* rstd) {
  rotate_heads(s, args, qkv, n, raw, rstd, 1.f);
}

void swiglu(Stream s, const bf16* gate_up, i64 n, i64 f, bf16* out) {
  if (n == 0) return;
  check_width(f, 8, i64{1} << 20, "swiglu");
  swiglu_kernel<<<blocks_for(n * (f / 8), kThreads, "swiglu"), kThreads, 0, s>>>(gate_up, static_cast<u32>(n), static_cast<u32>(f), out);
  check_launch("swiglu");
}

}  // namespace r1::gpu
