// Gradients of attention over packed rows: one kernel for keys and values, one for queries, so that no sum needs atomics and an equal
// plan gives equal bits. Both compute the probabilities again from the log-sum-exp that the forward pass left.
#include "kernels/gpu/attention_tile.cuh"
#include "kernels/gpu/common.cuh"

namespace r1::gpu {
namespace {

template <int HD>
constexpr int kTile = 64 * HD;

struct DeviceArgs {
  const bf16 *qkv, *out, *d_out;
  const float *lse, *delta;
  bf16* d_qkv;
  float* partials;
  const TrainSequence* sequences;
  int ld, heads, kv_heads;
  float scale;
};

// Row of the packed batch at position p of a sequence whose prefix has `prefix` positions.
__device__ __forceinline__ int row_at(const TrainSequence& s, int prefix, int p) {
  return p < prefix ? s.prefix_begin + p : s.begin + p - prefix;
}

// 64 rows of width HD into a tile in kv_offset() order; row(i) < 0: zeros.
template <int HD, class Row>
__device__ __forceinline__ void fetch_rows(bf16* tile, const bf16* from, long long ld, Row&& row, int thread) {
  constexpr int kPieces = HD / 8;
  for (int i = thread; i < 64 * kPieces; i += 128) {
    const int r = i / kPieces, piece = i % kPieces, source = row(r);
    copy_async16(tile + r * HD + kv_piece(r, piece, kPieces) * 8, from + (source < 0 ? 0 : source * ld) + piece * 8, source >= 0);
  }
}

// delta[i][h] = sum over the head of d_out * out. A warp a row and head.
__global__ void delta_kernel(const bf16* out, const bf16* d_out, long long rows_heads, int hd, float* delta) {
  const long long w = (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) & 31;
  if (w >= rows_heads) return;
  float sum = 0.f;
  for (int j = lane * 2; j < hd; j += 64) {
    const float2 a = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(out + w * hd + j));
    const float2 b = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(d_out + w * hd + j));
    sum = fmaf(a.x, b.x, sum);
    sum = fmaf(a.y, b.y, sum);
  }
#pragma unroll
  for (int k = 16; k > 0; k >>= 1) sum += __shfl_xor_sync(~0u, sum, k);
  if (lane == 0) delta[w] = sum;
}

// s [16][64] = rows [first, first + 16) of tile a times tile b^T.
template <int HD>
__device__ __forceinline__ void tile_product(float (&s)[8][4], const bf16* a, int first, const bf16* b, int lane) {
#pragma unroll
  for (int n = 0; n < 8; ++n) s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0.f;
#pragma unroll
  for (int k = 0; k < HD / 32; ++k) {
    std::uint32_t f0[4], f1[4];
    load_a<HD>(f0, a, first, k * 32, lane);
    load_a<HD>(f1, a, first, k * 32 + 16, lane);
#pragma unroll
    for (int n = 0; n < 8; ++n) {
      std::uint32_t g[4];
      load_b<HD>(g, b, n * 8, k * 32, lane);
      mma(s[n], f0, g[0], g[1]);
      mma(s[n], f1, g[2], g[3]);
    }
  }
}

// ---- keys and values ----------------------------------------------------------------------------------------------------
// A block of threads: 64 keys of a sequence, one key/value head. Each warp has 16 keys; the products are transposed ([keys][queries]).
template <int HD>
__global__ void __launch_bounds__(128) key_kernel(DeviceArgs a, const BackwardKeyItem* items) {
  extern __shared__ __align__(128) unsigned char shared[];
  bf16* const keys = reinterpret_cast<bf16*>(shared);
  bf16* const values = keys + kTile<HD>;
  bf16* const stages = values + kTile<HD>;  // two of queries and output gradients
  float* const row_values = reinterpret_cast<float*>(stages + 4 * kTile<HD>);  // two of lse * log2(e) [64], delta [64]
  const BackwardKeyItem item = items[blockIdx.x];
  const TrainSequence seq = a.sequences[item.sequence];
  const int kv_head = static_cast<int>(blockIdx.y), group = a.heads / a.kv_heads;
  const int thread = static_cast<int>(threadIdx.x), lane = thread & 31, warp = thread >> 5;
  const int prefix = seq.prefix_begin < 0 ? 0 : seq.prefix_end - seq.prefix_begin;
  const int own = seq.end - seq.begin, length = prefix + own;
  const int first_key = item.block * 64;
  const bf16* k_from = a.qkv + (a.heads + kv_head) * HD;
  const bf16* v_from = k_from + a.kv_heads * HD;
  const auto key_row = [&](int r) { return first_key + r < length ? row_at(seq, prefix, first_key + r) : -1; };
  fetch_rows<HD>(keys, k_from, a.ld, key_row, thread);
  fetch_rows<HD>(values, v_from, a.ld, key_row, thread);

  const int first_query = max(0, first_key - prefix) / 64 * 64;  // own row
  const int query_blocks = (own - first_query + 63) / 64, steps = query_blocks * group;
  const float sl2 = a.scale * kLog2E;
  const auto fetch = [&](int step) {
    const int head = kv_head * group + step / query_blocks, q0 = first_query + step % query_blocks * 64;
    bf16* to = stages + (step & 1) * 2 * kTile<HD>;
    float* numbers = row_values + (step & 1) * 128;
    const auto row = [&](int r) { return q0 + r < own ? seq.begin + q0 + r : -1; };
    fetch_rows<HD>(to, a.qkv + head * HD, a.ld, row, thread);
    fetch_rows<HD>(to + kTile<HD>, a.d_out + head * HD, static_cast<long long>(a.heads) * HD, row, thread);
    const int r = thread & 63;
    const long long at = static_cast<long long>(seq.begin + q0 + r) * a.heads + head;
    const bool valid = q0 + r < own;
    // A missing query's probability is exp2(-inf) = 0.
    if (thread < 64) numbers[r] = valid ? a.lse[at] * kLog2E : INFINITY;
    else numbers[64 + r] = valid ? a.delta[at] : 0.f;
  };
  fetch(0);
  copy_commit();

  float dk[HD / 8][4], dv[HD / 8][4];
#pragma unroll
  for (int n = 0; n < HD / 8; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) dk[n][e] = dv[n][e] = 0.f;

  for (int step = 0; step < steps; ++step) {
    if (step + 1 < steps) fetch(step + 1);
    copy_commit();
    copy_wait<1>();
    __syncthreads();
    const bf16* queries = stages + (step & 1) * 2 * kTile<HD>;
    const bf16* d_outs = queries + kTile<HD>;
    const float* numbers = row_values + (step & 1) * 128;
    const int q_position = prefix + first_query + step % query_blocks * 64;
    float p[8][4], dp[8][4];
    tile_product<HD>(p, keys, warp * 16, queries, lane);
    tile_product<HD>(dp, values, warp * 16, d_outs, lane);
#pragma unroll
    for (int n = 0; n < 8; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int q = n * 8 + (lane & 3) * 2 + (e & 1), key = first_key + warp * 16 + lane / 4 + (e >> 1) * 8;
        const float value = key <= q_position + q ? exp2_fast(fmaf(p[n][e], sl2, -numbers[q])) : 0.f;
        p[n][e] = value;
        dp[n][e] = value * (dp[n][e] - numbers[64 + q]);
      }
    std::uint32_t f[4][4];
    accumulators_to_a(f, p);
    product_columns<HD>(dv, f, d_outs, lane);
    accumulators_to_a(f, dp);
    product_columns<HD>(dk, f, queries, lane);
    __syncthreads();
  }
  copy_wait<0>();

  const int width = a.kv_heads * HD;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int p = first_key + warp * 16 + lane / 4 + i * 8;
    if (p >= length) continue;
    const int slot = p < prefix ? item.prefix_slot + p : item.own_slot < 0 ? -1 : item.own_slot + p - prefix;
    const int column = (lane & 3) * 2;
    if (slot >= 0) {
      float* to = a.partials + static_cast<long long>(slot) * 2 * width + kv_head * HD + column;
#pragma unroll
      for (int n = 0; n < HD / 8; ++n) {
        *reinterpret_cast<float2*>(to + n * 8) = make_float2(dk[n][2 * i] * a.scale, dk[n][2 * i + 1] * a.scale);
        *reinterpret_cast<float2*>(to + width + n * 8) = make_float2(dv[n][2 * i], dv[n][2 * i + 1]);
      }
    } else {
      bf16* to = a.d_qkv + static_cast<long long>(row_at(seq, prefix, p)) * a.ld + (a.heads + kv_head) * HD + column;
#pragma unroll
      for (int n = 0; n < HD / 8; ++n) {
        *reinterpret_cast<std::uint32_t*>(to + n * 8) = pack_bf16(dk[n][2 * i] * a.scale, dk[n][2 * i + 1] * a.scale);
        *reinterpret_cast<std::uint32_t*>(to + width + n * 8) = pack_bf16(dv[n][2 * i], dv[n][2 * i + 1]);
      }
    }
  }
}

// Rows that others continue: the sum of their partial rows, in order. One block a row.
__global__ void prefix_kernel(const PrefixSum* sums, const float* partials, int width, bf16* d_qkv, int ld, int offset) {
  const PrefixSum sum = sums[blockIdx.x];
  for (int j = static_cast<int>(threadIdx.x); j < width; j += static_cast<int>(blockDim.x)) {
    float total = 0.f;
    for (int t = 0; t < sum.terms; ++t) total += partials[(sum.slot + static_cast<long long>(t) * sum.stride) * width + j];
    d_qkv[static_cast<long long>(sum.row) * ld + offset + j] = __bfloat16_as_ushort(__float2bfloat16_rn(total));
  }
}

// ---- queries ------------------------------------------------------------------------------------------------------------
template <int HD>
__global__ void __launch_bounds__(128) query_kernel(DeviceArgs a, const BackwardQueryItem* items) {
  extern __shared__ __align__(128) unsigned char shared[];
  bf16* const queries = reinterpret_cast<bf16*>(shared);
  bf16* const d_outs = queries + kTile<HD>;
  bf16* const stages = d_outs + kTile<HD>;  // two of keys and values
  const BackwardQueryItem item = items[blockIdx.x];
  const TrainSequence seq = a.sequences[item.sequence];
  const int head = static_cast<int>(blockIdx.y), kv_head = head / (a.heads / a.kv_heads);
  const int thread = static_cast<int>(threadIdx.x), lane = thread & 31, warp = thread >> 5;
  const int prefix = seq.prefix_begin < 0 ? 0 : seq.prefix_end - seq.prefix_begin;
  const int own = seq.end - seq.begin, count = min(64, own - item.row);
  const auto query_row = [&](int r) { return r < count ? seq.begin + item.row + r : -1; };
  fetch_rows<HD>(queries, a.qkv + head * HD, a.ld, query_row, thread);
  fetch_rows<HD>(d_outs, a.d_out + head * HD, static_cast<long long>(a.heads) * HD, query_row, thread);
  const int last = prefix + item.row + count - 1, blocks = last / 64 + 1;
  const bf16* k_from = a.qkv + (a.heads + kv_head) * HD;
  const bf16* v_from = k_from + a.kv_heads * HD;
  const auto fetch = [&](int b) {
    bf16* to = stages + (b & 1) * 2 * kTile<HD>;
    const auto row = [&](int r) { return b * 64 + r <= last ? row_at(seq, prefix, b * 64 + r) : -1; };
    fetch_rows<HD>(to, k_from, a.ld, row, thread);
    fetch_rows<HD>(to + kTile<HD>, v_from, a.ld, row, thread);
  };
  fetch(0);
  copy_commit();
  float lse[2], delta[2];
  int position[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int r = warp * 16 + lane / 4 + i * 8;
    const long long at = static_cast<long long>(seq.begin + item.row + r) * a.heads + head;
    position[i] = prefix + item.row + r;
    lse[i] = r < count ? a.lse[at] * kLog2E : INFINITY;
    delta[i] = r < count ? a.delta[at] : 0.f;
  }
  const float sl2 = a.scale * kLog2E;
  float dq[HD / 8][4];
#pragma unroll
  for (int n = 0; n < HD / 8; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) dq[n][e] = 0.f;
  for (int b = 0; b < blocks; ++b) {
    if (b + 1 < blocks) fetch(b + 1);
    copy_commit();
    copy_wait<1>();
    __syncthreads();
    const bf16* keys = stages + (b & 1) * 2 * kTile<HD>;
    float p[8][4], dp[8][4];
    tile_product<HD>(p, queries, warp * 16, keys, lane);
    tile_product<HD>(dp, d_outs, warp * 16, keys + kTile<HD>, lane);
#pragma unroll
    for (int n = 0; n < 8; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int i = e >> 1, key = b * 64 + n * 8 + (lane & 3) * 2 + (e & 1);
        const float value = key <= position[i] ? exp2_fast(fmaf(p[n][e], sl2, -lse[i])) : 0.f;
        dp[n][e] = value * (dp[n][e] - delta[i]);
      }
    std::uint32_t f[4][4];
    accumulators_to_a(f, dp);
    product_columns<HD>(dq, f, keys, lane);
    __syncthreads();
  }
  copy_wait<0>();
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int r = warp * 16 + lane / 4 + i * 8;
    if (r >= count) continue;
    bf16* to = a.d_qkv + static_cast<long long>(seq.begin + item.row + r) * a.ld + head * HD + (lane & 3) * 2;
#pragma unroll
    for (int n = 0; n < HD / 8; ++n)
      *reinterpret_cast<std::uint32_t*>(to + n * 8) = pack_bf16(dq[n][2 * i] * a.scale, dq[n][2 * i + 1] * a.scale);
  }
}

template <int HD>
void launch(Stream s, const AttentionBackwardArgs& args) {
  constexpr int kKeyShared = 6 * kTile<HD> * 2 + 256 * 4, kQueryShared = 6 * kTile<HD> * 2;
  static const cudaError_t once[2] = {
      cudaFuncSetAttribute(key_kernel<HD>, cudaFuncAttributeMaxDynamicSharedMemorySize, kKeyShared),
      cudaFuncSetAttribute(query_kernel<HD>, cudaFuncAttributeMaxDynamicSharedMemorySize, kQueryShared)};
  (void)once;
  const DeviceArgs a{args.qkv, args.out, args.d_out, args.lse, args.delta, args.d_qkv, args.partials, args.sequences,
                     static_cast<int>(args.ld), static_cast<int>(args.heads), static_cast<int>(args.kv_heads), args.scale};
  key_kernel<HD><<<dim3(static_cast<unsigned>(args.num_key_items), static_cast<unsigned>(args.kv_heads)), 128, kKeyShared, s>>>(a, args.key_items);
  query_kernel<HD><<<dim3(static_cast<unsigned>(args.num_query_items), static_cast<unsigned>(args.heads)), 128, kQueryShared, s>>>(a, args.query_items);
}

}  // namespace

void attention_backward(Stream s, const AttentionBackwardArgs& args) {
  if (args.n == 0) return;
  const long long row_heads = args.n * args.heads;
  delta_kernel<<<static_cast<unsigned>((row_heads + 7) / 8), 256, 0, s>>>(args.out, args.d_out, row_heads, static_cast<int>(args.head_dim), args.delta);
  switch (args.head_dim) {
    case 64: launch<64>(s, args); break;
    case 96: launch<96>(s, args); break;
    case 128: launch<128>(s, args); break;
    default: throw ConfigError(message("attention's gradient on the GPU knows head_dim 64, 96 and 128, not ", args.head_dim));
  }
  if (args.num_prefix_sums > 0) {
    const int width = static_cast<int>(2 * args.kv_heads * args.head_dim);
    prefix_kernel<<<static_cast<unsigned>(args.num_prefix_sums), 128, 0, s>>>(args.prefix_sums, args.partials, width, args.d_qkv,
                                                                             static_cast<int>(args.ld), static_cast<int>(args.heads * args.head_dim));
  }
  check_launch("attention_backward");
}

}  // namespace r1::gpu
