// Decode attention over KV pages: one row a sequence, the chunks of a row side by side.
#include <algorithm>

#include "kernels/gpu/attention_tile.cuh"
#include "kernels/gpu/common.cuh"

namespace r1::gpu {
namespace {

// Four warps an item (chunks of a row for one key/value head and one tile of at most 16 of its query heads). They take kBlocks blocks
// of keys at a time: each warp the scores of a block (of half a block where they are two), then each its share of the columns of the
// values. A row's sums run over keys in one order whoever computes them, so its bits are those of SoftmaxState.
template <int HD, int B>
struct Decode {
  static constexpr int kBlocks = B, kShare = 4 / kBlocks;                  // warps a block
  static constexpr int kTiles = 8 / kShare, kRows = 64 / kShare;           // of keys, a warp: tiles of eight
  static constexpr int kGroups = (HD / 16 + 3) / 4;                        // of 16 columns, a warp
  static constexpr int kTile = 64 * HD;                                    // elements
  static constexpr int kHeadFloat4 = 32, kPieces = HD / 8;                 // a partial result: m and l of 16 rows, then the sums
  static constexpr int kPartialFloat4 = kHeadFloat4 + 32 * kPieces;
  struct Shared {
    bf16 keys[kBlocks][kTile], values[kBlocks][kTile];
    uint4 weights[kBlocks][4][32];    // A operands
    float4 sums[kBlocks][32];         // rows 0, 1 of the first half, of the second
    float tops[4][16];                // of a warp's keys
    int before;
  };
};

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

// The row's own key, rotated, and its value: into the tiles in shared memory and into the page. k, v: as the product left them.
template <int HD>
__device__ __forceinline__ void put_own_key(bf16* keys, bf16* values, bf16* page, int offset, const bf16* k, const bf16* v, const float* cos, const float* sin, int lane) {
  for (int i = lane; i < HD / 2; i += 32) {
    float a = low(k[i]), b = low(k[i + HD / 2]);
    rotate(a, b, cos[i], sin[i]);
    const bf16 first = __bfloat16_as_ushort(__float2bfloat16_rn(a)), second = __bfloat16_as_ushort(__float2bfloat16_rn(b));
    const int at = kv_offset(offset, i, HD), at2 = kv_offset(offset, i + HD / 2, HD);
    keys[at] = page[at] = first;
    keys[at2] = page[at2] = second;
    values[at] = page[64 * HD + at] = v[i];
    values[at2] = page[64 * HD + at2] = v[i + HD / 2];
  }
}

// Blocks [block, block + kBlocks) of a row, before `end`: what this warp fetches of them.
struct Piece {
  int work = 0;             // number of item and part
  DecodeItem item;
  int block = 0, end = 0;
  const bf16* page = nullptr;  // of this warp's keys, or null
  int limit = 0;            // keys of this warp's block that exist
};

template <int HD, int B>
__global__ void __launch_bounds__(128) decode_kernel(AttentionOperands a, const DecodeItem* items, const std::int32_t* count,
                                                     const std::int32_t* tables, float4* partials, std::int32_t* counters) {
  using D = Decode<HD, B>;
  extern __shared__ __align__(128) unsigned char raw[];
  auto& shared = *reinterpret_cast<typename D::Shared*>(raw);
  const int lane = static_cast<int>(threadIdx.x) & 31, warp = static_cast<int>(threadIdx.x) >> 5;
  const int mine = warp / D::kShare, half = warp % D::kShare, key_row = half * D::kRows;  // this warp's block, and its keys' first row of it
  const int group = a.heads / a.kv_heads, head_tiles = (group + 15) / 16, per_row = a.kv_heads * head_tiles;
  const float sl2 = __fmul_rn(a.scale, kLog2E);
  let_next_start();
  // Where the row's own key is made here, the kernel before made q, k and v only. Items, tables and the keys of earlier positions are older
  // (a step begins with kernels that are not launched early): they are read, and the first keys asked for, while that kernel still runs.
  if (a.cos == nullptr) wait_for_previous();
  const int all = *count * per_row;

  const auto locate = [&](Piece& p) {
    const int b = p.block + mine;
    p.limit = p.item.position + 1 - b * 64;
    p.page = nullptr;
    if (b < p.end) p.page = a.pages + tables[p.item.table + b] * a.page_stride + static_cast<long long>(p.work % per_row / head_tiles) * 2 * D::kTile;
  };
  const auto begin = [&](Piece& p) {  // of an item
    if (p.work >= all) return;
    p.item = items[p.work / per_row];
    p.block = p.item.chunk * kChunkBlocks;
    p.end = min((p.item.chunk + p.item.count) * kChunkBlocks, p.item.position / 64 + 1);
    locate(p);
  };
  const auto advance = [&](Piece& p) {
    p.block += D::kBlocks, p.page = nullptr;
    if (p.block < p.end) return locate(p);
    p.work += static_cast<int>(gridDim.x);
    begin(p);
  };
  // Keys that do not exist give scores that are masked; values that do not exist must be finite, for their weight 0.
  const auto fetch_keys = [&](const Piece& p) {
    if (p.page != nullptr)
      for (int i = lane; i < min(p.limit - key_row, D::kRows) * (HD / 8); i += 32) {
        const int at = (key_row * (HD / 8) + i) * 8;
        copy_async16(shared.keys[mine] + at, p.page + at);
      }
    copy_commit();
  };
  const auto fetch_values = [&](const Piece& p) {
    if (p.page != nullptr)
      for (int i = lane; i < D::kRows * (HD / 8); i += 32) {
        const int at = (key_row * (HD / 8) + i) * 8;
        copy_async16(shared.values[mine] + at, p.page + D::kTile + at, key_row + i / (HD / 8) < p.limit);
      }
    copy_commit();
  };

  Piece now;
  now.work = static_cast<int>(blockIdx.x);
  if (now.work >= all && now.work > 0) return;  // one waits for the kernels before, so this grid's end says that they have ended
  begin(now);
  fetch_keys(now);
  fetch_values(now);
  if (a.cos != nullptr) wait_for_previous();

  std::uint32_t q[HD / 16][4];
  float m[2], l[2], o[D::kGroups][2][4];           // of a chunk
  float all_m[2], all_l[2], all_o[D::kGroups][2][4];  // of the chunks before it
  while (now.work < all) {
    const DecodeItem item = now.item;
    const int part = now.work % per_row, kv_head = part / head_tiles, tile = part % head_tiles, block = now.block, end = now.end, limit = now.limit;
    const bool has_keys = now.page != nullptr, whole = item.count > item.position / kChunk, last = block + D::kBlocks >= end;
    bf16* const page = const_cast<bf16*>(now.page);
    const float *cos = a.cos, *sin = a.sin;
    if (cos != nullptr) cos += static_cast<long long>(item.position) * (HD / 2), sin += static_cast<long long>(item.position) * (HD / 2);
    if (block == item.chunk * kChunkBlocks) {
      const bf16* q_row[2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int g = tile * 16 + lane / 4 + i * 8;
        q_row[i] = g < group ? a.q + static_cast<long long>(item.row) * a.ld + (kv_head * group + g) * HD : nullptr;
      }
      load_q<HD>(q, q_row, lane);
      if (cos != nullptr) rotate_q<HD>(q, cos, sin, lane);
    }
    if (block % kChunkBlocks == 0) {
      m[0] = m[1] = -INFINITY, l[0] = l[1] = 0.f;
#pragma unroll
      for (int g = 0; g < D::kGroups; ++g)
#pragma unroll
        for (int e = 0; e < 8; ++e) o[g][e / 4][e % 4] = 0.f;
    }
    Piece next = now;
    advance(next);

    copy_wait<1>();
    const int own = item.position & 63;
    if (cos != nullptr && block + mine == item.position / 64 && own / D::kRows == half) {
      copy_wait<0>();
      __syncwarp();
      const bf16* k = a.q + static_cast<long long>(item.row) * a.ld + (a.heads + kv_head) * HD;
      put_own_key<HD>(shared.keys[mine], shared.values[mine], page, own, k, k + a.kv_heads * HD, cos, sin, lane);
    }
    __syncwarp();
    float s[D::kTiles][4], top[2] = {-INFINITY, -INFINITY};
    if (has_keys) {
      product_rows<HD, D::kTiles>(s, q, shared.keys[mine], lane, key_row);
      mask_scores(s, top, {limit, limit}, key_row, lane);
      top[0] = quad_max(top[0]), top[1] = quad_max(top[1]);
    }
    if ((lane & 3) == 0) shared.tops[warp][lane / 4] = top[0], shared.tops[warp][lane / 4 + 8] = top[1];
    __syncthreads();
    fetch_keys(next);  // this warp alone reads them, and has

    float scale[D::kBlocks][2], shift[2] = {};
#pragma unroll
    for (int b = 0; b < D::kBlocks; ++b)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float block_top = shared.tops[b * D::kShare][lane / 4 + i * 8], shifted;
        if (D::kShare == 2) block_top = fmaxf(block_top, shared.tops[b * D::kShare + 1][lane / 4 + i * 8]);
        scale[b][i] = move_maximum(m[i], block_top, sl2, shifted);
        if (b == mine) shift[i] = shifted;
      }
    if (has_keys) {
      float sum[2][2] = {};
#pragma unroll
      for (int n = 0; n < D::kTiles; ++n) exponentials(s[n], shift, sl2, sum[n / 4]);
#pragma unroll
      for (int k = 0; k < D::kTiles / 2; ++k) {
        std::uint32_t w[4];
        accumulators_to_a(w, s[2 * k], s[2 * k + 1]);
        shared.weights[mine][half * (D::kTiles / 2) + k][lane] = make_uint4(w[0], w[1], w[2], w[3]);
      }
      if (D::kShare == 1) shared.sums[mine][lane] = make_float4(sum[0][0], sum[0][1], sum[1][0], sum[1][1]);
      else reinterpret_cast<float2*>(&shared.sums[mine][lane])[half] = make_float2(sum[0][0], sum[0][1]);
    }
    copy_wait<1>();  // these values; the next keys may be under way
    __syncthreads();
#pragma unroll
    for (int b = 0; b < D::kBlocks; ++b) {
      if (block + b >= end) break;
      const float4 sums = shared.sums[b][lane];
      l[0] = add_block(l[0], scale[b][0], sums.x, sums.z);
      l[1] = add_block(l[1], scale[b][1], sums.y, sums.w);
#pragma unroll
      for (int g = 0; g < D::kGroups; ++g)
#pragma unroll
        for (int e = 0; e < 8; ++e) o[g][e / 4][e % 4] = __fmul_rn(o[g][e / 4][e % 4], scale[b][e % 4 >> 1]);
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const uint4 w = shared.weights[b][k][lane];
        const std::uint32_t p[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
        for (int g = 0; g < D::kGroups; ++g) {
          const int column = (g * 4 + warp) * 16;
          if (column >= HD) break;
          std::uint32_t v[4];
          load_b_trans<HD>(v, shared.values[b], k * 16, column, lane);
          mma(o[g][0], p, v[0], v[1]);
          mma(o[g][1], p, v[2], v[3]);
        }
      }
    }
    __syncthreads();
    fetch_values(next);
    now = next;
    if (!last && (block + D::kBlocks) % kChunkBlocks != 0) continue;

    l[0] = quad_sum(l[0]);
    l[1] = quad_sum(l[1]);
    if (whole && item.count > 1) {  // its chunks come one after another
      float before[2], after[2];
      const bool first_chunk = block < kChunkBlocks;
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        if (first_chunk) all_m[i] = m[i], all_l[i] = l[i];
        else merge_rows(all_m[i], all_l[i], m[i], l[i], sl2, before[i], after[i]);
        m[i] = all_m[i], l[i] = all_l[i];
      }
#pragma unroll
      for (int g = 0; g < D::kGroups; ++g)
#pragma unroll
        for (int e = 0; e < 8; ++e) {
          float &sum = all_o[g][e / 4][e % 4], &own_sum = o[g][e / 4][e % 4];
          sum = first_chunk ? own_sum : merge_sums(sum, before[e % 4 >> 1], own_sum, after[e % 4 >> 1]);
          own_sum = sum;
        }
      if (!last) continue;
    }
    if (!whole) {
      const int chunks = item.position / kChunk + 1;
      const auto saved = [&](int chunk) { return partials + ((static_cast<long long>(item.slot) + chunk) * per_row + part) * D::kPartialFloat4 + lane; };
      const auto piece = [&](int g, int side) { return D::kHeadFloat4 + ((g * 4 + warp) * 2 + side) * 32; };
      const auto exists = [&](int g) { return (g * 4 + warp) * 16 < HD; };
      float4* const to = saved(item.chunk);
      if (warp == 0) __stcg(to, make_float4(m[0], m[1], l[0], l[1]));
#pragma unroll
      for (int g = 0; g < D::kGroups; ++g)
#pragma unroll
        for (int side = 0; side < 2; ++side)
          if (exists(g)) __stcg(to + piece(g, side), make_float4(o[g][side][0], o[g][side][1], o[g][side][2], o[g][side][3]));
      __threadfence();
      __syncthreads();
      std::int32_t* counter = counters + static_cast<long long>(item.row) * per_row + part;
      if (threadIdx.x == 0) shared.before = atomicAdd(counter, 1);
      __syncthreads();
      if (shared.before != chunks - 1) continue;
      // The last to arrive merges them all, in order.
      __threadfence();
      for (int c = 0; c < chunks; ++c) {
        const float4* from = saved(c);
        const float4 head = __ldcg(from);
        const float om[2] = {head.x, head.y}, ol[2] = {head.z, head.w};
        float before[2], after[2];
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          if (c == 0) m[i] = om[i], l[i] = ol[i];
          else merge_rows(m[i], l[i], om[i], ol[i], sl2, before[i], after[i]);
        }
#pragma unroll
        for (int g = 0; g < D::kGroups; ++g)
#pragma unroll
          for (int side = 0; side < 2; ++side) {
            if (!exists(g)) continue;
            const float4 sums = __ldcg(from + piece(g, side));
            const float p[4] = {sums.x, sums.y, sums.z, sums.w};
#pragma unroll
            for (int e = 0; e < 4; ++e) o[g][side][e] = c == 0 ? p[e] : merge_sums(o[g][side][e], before[e >> 1], p[e], after[e >> 1]);
          }
      }
      if (threadIdx.x == 0) *counter = 0;
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int head = tile * 16 + lane / 4 + i * 8;
      if (head >= group) continue;
      const float inverse = __frcp_rn(l[i]);
      bf16* const out = a.out + static_cast<long long>(item.row) * a.out_ld + (kv_head * group + head) * HD + (lane & 3) * 2;
#pragma unroll
      for (int g = 0; g < D::kGroups; ++g) {
        const int column = (g * 4 + warp) * 16;
        if (column >= HD) break;
        store_pair(out + column, o[g][0][2 * i], o[g][0][2 * i + 1], inverse);
        store_pair(out + column + 8, o[g][1][2 * i], o[g][1][2 * i + 1], inverse);
      }
      if (a.lse != nullptr && warp == 0 && (lane & 3) == 0) a.lse[static_cast<long long>(item.row) * a.heads + kv_head * group + head] = log_sum(m[i], l[i], a.scale);
    }
  }
  copy_wait<0>();
}

template <int HD, int B>
constexpr std::size_t kDecodeShared = sizeof(typename Decode<HD, B>::Shared);

}  // namespace

std::int32_t decode_items(std::span<const std::int32_t> positions, std::span<const std::int32_t> tables, std::int64_t per_row, int multiprocessors,
                          std::vector<DecodeItem>& items) {
  items.clear();
  std::int64_t all = 0;
  for (const std::int32_t p : positions) all += p / kChunk + 1;
  const std::int64_t whole = all * per_row / multiprocessors;
  std::int32_t slot = 0;
  for (std::size_t i = 0; i < positions.size(); ++i) {
    const std::int32_t row = static_cast<std::int32_t>(i), position = positions[i], chunks = position / kChunk + 1;
    if (chunks == 1 || chunks <= whole) {
      items.push_back({row, position, 0, chunks, 0, tables[i]});
      continue;
    }
    for (std::int32_t c = 0; c < chunks; ++c) items.push_back({row, position, c, 1, slot, tables[i]});
    slot += chunks;
  }
  return slot;
}

bool attention_supports(std::int64_t hd) { return hd == 64 || hd == 96 || hd == 128 || hd == 256; }

std::size_t decode_partial_bytes(std::int64_t slots, std::int64_t heads, std::int64_t kv_heads, std::int64_t hd) {
  const std::int64_t tiles = (heads / kv_heads + 15) / 16;
  return static_cast<std::size_t>(slots * kv_heads * tiles * 32 * (4 + hd / 2)) * sizeof(float);
}

// Few rows: four blocks of keys at once, the shortest way. Many: half the shared memory an item, so that more of them wait for memory at a time.
template <class Call>
void with_kernel(std::int64_t hd, bool few, Call&& call) {
  with_head_dim(hd, [&](auto constant) {
    constexpr int HD = constant;
    if constexpr (HD <= 96) {
      if (few) return call(constant, std::integral_constant<int, 4>{});
    }
    call(constant, std::integral_constant<int, 2>{});
  });
}

DecodeGrid decode_grid(std::int64_t rows, std::int64_t per_row, std::int64_t hd) {
  DecodeGrid grid;
  int device = 0, multiprocessors = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device), "cudaDeviceGetAttribute");
  grid.few = rows * per_row <= multiprocessors;
  with_kernel(hd, grid.few, [&](auto constant, auto blocks_at_once) {
    constexpr int HD = constant, B = blocks_at_once;
    int per_multiprocessor = 0;
    cudaFuncSetAttribute(decode_kernel<HD, B>, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(kDecodeShared<HD, B>));
    cudaOccupancyMaxActiveBlocksPerMultiprocessor(&per_multiprocessor, decode_kernel<HD, B>, 128, kDecodeShared<HD, B>);
    // How long the rows will be is not known: enough for 32 chunks of each at once, which take longer where there are more.
    grid.blocks = static_cast<int>(std::clamp<std::int64_t>(32 * rows * per_row, 1, std::max(1, multiprocessors * per_multiprocessor)));
  });
  check_launch("decode_grid");
  return grid;
}

void attention_decode(Stream s, const AttentionArgs& args, const DecodeItem* items, const std::int32_t* count, const std::int32_t* tables,
                      float* partials, std::int32_t* counters, const DecodeGrid& grid) {
  with_kernel(args.pages.head_dim, grid.few, [&](auto constant, auto blocks_at_once) {
    constexpr int HD = constant, B = blocks_at_once;
    static const cudaError_t once = cudaFuncSetAttribute(decode_kernel<HD, B>, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(kDecodeShared<HD, B>));
    check(once, "attention_decode's shared memory");
    launch_early(s, decode_kernel<HD, B>, dim3(static_cast<unsigned>(grid.blocks)), dim3(128), kDecodeShared<HD, B>, operands(args), items, count, tables,
                 reinterpret_cast<float4*>(partials), counters);
  });
  check_launch("attention_decode");
}

}  // namespace r1::gpu
