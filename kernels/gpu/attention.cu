// Attention over KV pages: decoding (one row a sequence, chunks side by side) and prefill (64 rows of a sequence).
#include <algorithm>

#include "kernels/gpu/attention_tile.cuh"
#include "kernels/gpu/common.cuh"

namespace r1::gpu {
namespace {

constexpr float kLog2E = 1.4426950408889634f;


struct DeviceArgs {
  bf16* pages;
  long long page_stride;
  const bf16* q;
  bf16* out;
  float* lse;
  int ld, out_ld, heads, kv_heads;
  float scale;
  const float *cos, *sin;
};

DeviceArgs device_args(const AttentionArgs& a) {
  return {a.pages.base, a.pages.page_stride, a.q, a.out, a.lse, static_cast<int>(a.ld), static_cast<int>(a.out_ld),
          static_cast<int>(a.heads), static_cast<int>(a.pages.kv_heads), a.scale, a.cos, a.sin};
}

// ---- decode -----------------------------------------------------------------------------------------------------------

template <int HD>
constexpr int kDecodeStages = HD <= 96 ? 3 : 2;
template <int HD>
constexpr int kTile = 64 * HD;  // elements

template <int HD>
__device__ __forceinline__ void fetch_block(bf16* stage, const DeviceArgs& a, int page, int kv_head, int rows, int lane) {
  const bf16* from = a.pages + page * a.page_stride + static_cast<long long>(kv_head) * 2 * kTile<HD>;
  const int pieces = rows * (HD / 8);
  for (int i = lane; i < pieces; i += 32) copy_async16(stage + i * 8, from + i * 8);
  for (int i = lane; i < pieces; i += 32) copy_async16(stage + kTile<HD> + i * 8, from + kTile<HD> + i * 8);
}

// Floats of one partial result: m and l of 16 rows, then the accumulators as the threads hold them.
template <int HD>
constexpr int kPartialFloats = 32 * (4 + HD / 2);

// The rotation of qk_norm_rope(), to the bit.
__device__ __forceinline__ void rotate(float& a, float& b, float c, float s) {
  const float first = __fsub_rn(__fmul_rn(a, c), __fmul_rn(b, s));
  b = __fadd_rn(__fmul_rn(b, c), __fmul_rn(a, s));
  a = first;
}

template <int HD>
__device__ __forceinline__ void rotate_q(std::uint32_t (&q)[HD / 16][4], const float* cos, const float* sin, int lane) {
#pragma unroll
  for (int k = 0; k < HD / 32; ++k)
#pragma unroll
    for (int part = 0; part < 4; ++part) {
      const int column = k * 16 + (part >> 1) * 8 + (lane & 3) * 2;
      const float2 c = *reinterpret_cast<const float2*>(cos + column), s = *reinterpret_cast<const float2*>(sin + column);
      float a0 = low(q[k][part]), a1 = high(q[k][part]), b0 = low(q[k + HD / 32][part]), b1 = high(q[k + HD / 32][part]);
      rotate(a0, b0, c.x, s.x);
      rotate(a1, b1, c.y, s.y);
      q[k][part] = pack_bf16(a0, a1);
      q[k + HD / 32][part] = pack_bf16(b0, b1);
    }
}

// The row's own key, rotated, and its value: into the tile in shared memory and into the page. `row`: k and v as the product left them.
template <int HD>
__device__ __forceinline__ void put_own_key(bf16* stage, bf16* page, int offset, const bf16* k, const bf16* v, const float* cos, const float* sin, int lane) {
  for (int i = lane; i < HD / 2; i += 32) {
    float a = low(k[i]), b = low(k[i + HD / 2]);
    rotate(a, b, cos[i], sin[i]);
    const bf16 first = __bfloat16_as_ushort(__float2bfloat16_rn(a)), second = __bfloat16_as_ushort(__float2bfloat16_rn(b));
    const int at = kv_offset(offset, i, HD), at2 = kv_offset(offset, i + HD / 2, HD);
    stage[at] = page[at] = first;
    stage[at2] = page[at2] = second;
    stage[kTile<HD> + at] = page[kTile<HD> + at] = v[i];
    stage[kTile<HD> + at2] = page[kTile<HD> + at2] = v[i + HD / 2];
  }
  __syncwarp();
}

// One warp an item: a chunk of a row for one key/value head (and one tile of at most 16 of its query heads).
template <int HD>
__global__ void __launch_bounds__(32) decode_kernel(DeviceArgs a, const DecodeItem* items, const std::int32_t* count,
                                                    const std::int32_t* tables, float* partials, std::int32_t* counters) {
  extern __shared__ __align__(128) unsigned char shared[];
  bf16* const stages = reinterpret_cast<bf16*>(shared);
  constexpr int kStages = kDecodeStages<HD>;
  const int lane = static_cast<int>(threadIdx.x);
  const int group = a.heads / a.kv_heads, head_tiles = (group + 15) / 16, per_row = a.kv_heads * head_tiles;
  let_next_start();
  // Rows beyond a sequence's end are not fetched; what lies there must be finite.
  for (int i = lane; i < kStages * 2 * kTile<HD> / 8; i += 32) reinterpret_cast<uint4*>(shared)[i] = make_uint4(0, 0, 0, 0);
  __syncwarp();
  const float sl2 = __fmul_rn(a.scale, kLog2E);
  // Where the row's own key is made here, the kernel before made q, k and v only. Items, tables and the keys of earlier positions are older
  // (a step begins with kernels that are not launched early): they are read, and the first keys asked for, while that kernel still runs.
  bool waited = a.cos == nullptr;
  if (waited) wait_for_previous();
  const int work = *count * per_row;
  for (int w = static_cast<int>(blockIdx.x); w < work; w += static_cast<int>(gridDim.x)) {
    const DecodeItem item = items[w / per_row];
    const int part = w % per_row, kv_head = part / head_tiles, tile = part % head_tiles;
    const int first_key = item.chunk * kChunk;
    const int keys = min(item.position + 1 - first_key, kChunk), blocks = (keys + 63) / 64;
    const std::int32_t* pages = tables + item.table + item.chunk * kChunkBlocks;
    for (int b = 0; b < kStages - 1; ++b) {
      if (b < blocks) fetch_block<HD>(stages + b * 2 * kTile<HD>, a, pages[b], kv_head, min(keys - b * 64, 64), lane);
      copy_commit();
    }
    if (!waited) wait_for_previous(), waited = true;
    const bf16* q_row[2];
    bf16* out_row[2];
    float* lse_row[2];
    bool valid[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int g = tile * 16 + lane / 4 + i * 8, head = kv_head * group + g;
      valid[i] = g < group;
      q_row[i] = valid[i] ? a.q + static_cast<long long>(item.row) * a.ld + head * HD : nullptr;
      out_row[i] = a.out + static_cast<long long>(item.row) * a.out_ld + head * HD;
      lse_row[i] = a.lse == nullptr ? nullptr : a.lse + static_cast<long long>(item.row) * a.heads + head;
    }
    std::uint32_t q[HD / 16][4];
    load_q<HD>(q, q_row, lane);
    const float *cos = a.cos, *sin = a.sin;
    if (cos != nullptr) cos += static_cast<long long>(item.position) * (HD / 2), sin += static_cast<long long>(item.position) * (HD / 2);
    if (cos != nullptr) rotate_q<HD>(q, cos, sin, lane);
    const bool own_key = a.cos != nullptr && item.chunk == item.chunks - 1;
    SoftmaxState<HD> state;
    state.reset();
    for (int b = 0; b < blocks; ++b) {
      const int ahead = b + kStages - 1;
      if (ahead < blocks)
        fetch_block<HD>(stages + (ahead % kStages) * 2 * kTile<HD>, a, pages[ahead], kv_head, min(keys - ahead * 64, 64), lane);
      copy_commit();
      copy_wait<kStages - 1>();
      __syncwarp();
      bf16* stage = stages + (b % kStages) * 2 * kTile<HD>;
      const int limit = keys - b * 64;
      if (own_key && b == blocks - 1) {
        const bf16* k = a.q + static_cast<long long>(item.row) * a.ld + (a.heads + kv_head) * HD;
        bf16* page = a.pages + pages[b] * a.page_stride + static_cast<long long>(kv_head) * 2 * kTile<HD>;
        put_own_key<HD>(stage, page, item.position & 63, k, k + a.kv_heads * HD, cos, sin, lane);
      }
      state.block(q, stage, stage + kTile<HD>, {limit, limit}, sl2, lane);
      __syncwarp();
    }
    copy_wait<0>();
    state.finish_chunk();
    if (item.chunks > 1) {
      const auto saved = [&](int chunk) {
        const long long slot = (static_cast<long long>(item.slot) + chunk) * per_row + part;
        return SavedGlobal{reinterpret_cast<float4*>(partials + slot * kPartialFloats<HD>), 32, lane};
      };
      save_state(state, saved(item.chunk));
      __threadfence();
      __syncwarp();
      int before = 0;
      std::int32_t* counter = counters + static_cast<long long>(item.row) * per_row + part;
      if (lane == 0) before = atomicAdd(counter, 1);
      before = __shfl_sync(~0u, before, 0);
      if (before != item.chunks - 1) continue;
      // The last to arrive merges them all, in order.
      __threadfence();
      state.reset();
      const SavedGlobal begin = saved(0);
      const float4 head = begin.head();
      state.m[0] = head.x, state.m[1] = head.y, state.l[0] = head.z, state.l[1] = head.w;
#pragma unroll
      for (int n = 0; n < HD / 8; ++n) {
        const float4 piece = begin.piece(n);
        state.o[n][0] = piece.x, state.o[n][1] = piece.y, state.o[n][2] = piece.z, state.o[n][3] = piece.w;
      }
      for (int c = 1; c < item.chunks; ++c) state.merge_next(saved(c), sl2);
      if (lane == 0) *counter = 0;
    }
    state.store(out_row, lse_row, valid, a.scale, lane);
  }
  if (!waited) wait_for_previous();  // this grid's end says that those before it have ended
}

// ---- prefill ----------------------------------------------------------------------------------------------------------

template <int HD>
__global__ void __launch_bounds__(128) prefill_kernel(DeviceArgs a, const PrefillItem* items, const std::int32_t* tables) {
  extern __shared__ __align__(128) unsigned char shared[];
  bf16* const stages = reinterpret_cast<bf16*>(shared);  // two of keys and values
  const PrefillItem item = items[blockIdx.x];
  const int head = static_cast<int>(blockIdx.y), kv_head = head / (a.heads / a.kv_heads);
  const int thread = static_cast<int>(threadIdx.x), lane = thread & 31, warp = thread >> 5;
  const std::int32_t* pages = tables + item.table;
  const int last = item.position + item.count - 1, blocks = last / 64 + 1;

  const auto fetch = [&](int b) {
    const bf16* from = a.pages + pages[b] * a.page_stride + static_cast<long long>(kv_head) * 2 * kTile<HD>;
    bf16* to = stages + (b & 1) * 2 * kTile<HD>;
    // What lies behind the last position is not let in: probability 0 times a stray NaN is NaN.
    for (int i = thread; i < 2 * kTile<HD> / 8; i += 128) copy_async16(to + i * 8, from + i * 8, b * 64 + i / (HD / 8) % 64 <= last);
  };
  fetch(0);
  copy_commit();

  const bf16* q_row[2];
  bf16* out_row[2];
  float* lse_row[2];
  bool valid[2];
  int position[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int r = warp * 16 + lane / 4 + i * 8;
    const long long row = item.row + r;
    valid[i] = r < item.count;
    position[i] = item.position + r;
    q_row[i] = valid[i] ? a.q + row * a.ld + head * HD : nullptr;
    out_row[i] = a.out + row * a.out_ld + head * HD;
    lse_row[i] = a.lse == nullptr ? nullptr : a.lse + row * a.heads + head;
  }
  std::uint32_t q[HD / 16][4];
  load_q<HD>(q, q_row, lane);
  const int warp_last = item.position + min(warp * 16 + 15, item.count - 1);
  const bool active = warp * 16 < item.count;
  const float sl2 = __fmul_rn(a.scale, kLog2E);

  // Earlier chunks wait in shared memory, behind the stages.
  const SavedShared earlier{reinterpret_cast<float4*>(stages + 4 * kTile<HD>), 128, thread};
  SoftmaxState<HD> state;
  state.reset();
  for (int b = 0; b < blocks; ++b) {
    if (b + 1 < blocks) fetch(b + 1);
    copy_commit();
    copy_wait<1>();
    __syncthreads();
    if (active && b * 64 <= warp_last) {
      const bf16* stage = stages + (b & 1) * 2 * kTile<HD>;
      state.block(q, stage, stage + kTile<HD>, {position[0] + 1 - b * 64, position[1] + 1 - b * 64}, sl2, lane);
      const bool end = b == warp_last / 64;
      if (b % kChunkBlocks == kChunkBlocks - 1 || end) {
        state.finish_chunk();
        if (b >= kChunkBlocks) state.merge_earlier(earlier, sl2);
        if (!end) {
          save_state(state, earlier);
          state.reset();
        }
      }
    }
    __syncthreads();
  }
  if (active) state.store(out_row, lse_row, valid, a.scale, lane);
}

template <int HD>
constexpr int kDecodeShared = kDecodeStages<HD> * 2 * kTile<HD> * 2;
template <int HD>
constexpr int kPrefillShared = 2 * 2 * kTile<HD> * 2 + 128 * 16 * (HD / 8 + 1);

template <class Call>
void with_head_dim(std::int64_t hd, Call&& call) {
  switch (hd) {
    case 64: return call(std::integral_constant<int, 64>{});
    case 96: return call(std::integral_constant<int, 96>{});
    case 128: return call(std::integral_constant<int, 128>{});
    case 256: return call(std::integral_constant<int, 256>{});
  }
  throw ConfigError(message("attention on the GPU knows head_dim 64, 96, 128 and 256, not ", hd));
}

}  // namespace

bool attention_supports(std::int64_t hd) { return hd == 64 || hd == 96 || hd == 128 || hd == 256; }

std::size_t decode_partial_bytes(std::int64_t slots, std::int64_t heads, std::int64_t kv_heads, std::int64_t hd) {
  const std::int64_t tiles = (heads / kv_heads + 15) / 16;
  return static_cast<std::size_t>(slots * kv_heads * tiles * 32 * (4 + hd / 2)) * sizeof(float);
}

int attention_decode_blocks(std::int64_t hd) {
  int result = 0;
  with_head_dim(hd, [&](auto constant) {
    constexpr int HD = constant;
    int device = 0, processors = 0, per_processor = 0;
    cudaGetDevice(&device);
    cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
    cudaFuncSetAttribute(decode_kernel<HD>, cudaFuncAttributeMaxDynamicSharedMemorySize, kDecodeShared<HD>);
    cudaOccupancyMaxActiveBlocksPerMultiprocessor(&per_processor, decode_kernel<HD>, 32, kDecodeShared<HD>);
    result = std::max(1, processors * per_processor);
  });
  check_launch("attention_decode_blocks");
  return result;
}

void attention_decode(Stream s, const AttentionArgs& args, const DecodeItem* items, const std::int32_t* count, const std::int32_t* tables,
                      float* partials, std::int32_t* counters, int blocks) {
  with_head_dim(args.pages.head_dim, [&](auto constant) {
    constexpr int HD = constant;
    static const cudaError_t once = cudaFuncSetAttribute(decode_kernel<HD>, cudaFuncAttributeMaxDynamicSharedMemorySize, kDecodeShared<HD>);
    (void)once;
    launch_early(s, decode_kernel<HD>, dim3(static_cast<unsigned>(blocks)), dim3(32), static_cast<std::size_t>(kDecodeShared<HD>), device_args(args), items, count,
                 tables, partials, counters);
  });
  check_launch("attention_decode");
}

void attention_prefill(Stream s, const AttentionArgs& args, const PrefillItem* items, std::int64_t n, const std::int32_t* tables) {
  if (n == 0) return;
  with_head_dim(args.pages.head_dim, [&](auto constant) {
    constexpr int HD = constant;
    static const cudaError_t once = cudaFuncSetAttribute(prefill_kernel<HD>, cudaFuncAttributeMaxDynamicSharedMemorySize, kPrefillShared<HD>);
    (void)once;
    prefill_kernel<HD><<<dim3(static_cast<unsigned>(n), static_cast<unsigned>(args.heads)), 128, kPrefillShared<HD>, s>>>(
        device_args(args), items, tables);
  });
  check_launch("attention_prefill");
}

}  // namespace r1::gpu
