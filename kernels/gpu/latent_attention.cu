// Attention over latents: four warps take sixteen heads of one row. Each warp makes the scores of a quarter of the keys, all of them the
// same softmax, and each a quarter of the columns of the context. Decoding has chunks side by side, prefill one after another: the same
// operations, so the same bits.
#include "kernels/gpu/attention_tile.cuh"
#include "kernels/gpu/latent.h"

namespace r1::gpu {
namespace {

constexpr int kThreads = 128, kWarps = 4;
constexpr int kWidth = kLatentWidth, kColumns = kLatentRank / kWarps;  // columns of a warp
constexpr int kKeys = 32, kBlocks = kChunk / kKeys;                    // keys at a time; blocks of a chunk
constexpr int kScoreLine = kKeys + 8;                                  // floats, so that rows of a quad lie in different banks
constexpr int kQ = 16 * kWidth, kStage = kKeys * kWidth;               // elements
constexpr int kShared = (kQ + 2 * kStage) * 2 + 16 * kScoreLine * 4;   // bytes
constexpr int kPartialFloats = kThreads * 4 * (kColumns / 8 + 1);
static_assert(kKeys == kWarps * 8 && kPage % kKeys == 0);

using State = SoftmaxState<kColumns>;

// A state in registers, as merge_earlier() reads it.
struct SavedState {
  const State& s;
  __device__ __forceinline__ float4 head() const { return make_float4(s.m[0], s.m[1], s.l[0], s.l[1]); }
  __device__ __forceinline__ float4 piece(int n) const { return make_float4(s.o[n][0], s.o[n][1], s.o[n][2], s.o[n][3]); }
};

// A state in global memory, written by one block of threads and read by another.
struct SavedGlobal {
  float4* memory;
  int stride, thread;
  __device__ __forceinline__ float4 get(int n) const { return __ldcg(memory + n * stride + thread); }
  __device__ __forceinline__ void put(int n, const float4& v) const { __stcg(memory + n * stride + thread, v); }
};
__device__ __forceinline__ void load_state(State& s, const SavedGlobal& from) {
  const float4 head = from.get(0);
  s.m[0] = head.x, s.m[1] = head.y, s.l[0] = head.z, s.l[1] = head.w;
#pragma unroll
  for (int n = 0; n < kColumns / 8; ++n) {
    const float4 piece = from.get(n + 1);
    s.o[n][0] = piece.x, s.o[n][1] = piece.y, s.o[n][2] = piece.z, s.o[n][3] = piece.w;
  }
}

struct Work {
  bf16 *q, *stages;
  float* scores;
  int lane, warp, thread;
  __device__ __forceinline__ explicit Work(unsigned char* shared)
      : q(reinterpret_cast<bf16*>(shared)), stages(q + kQ), scores(reinterpret_cast<float*>(stages + 2 * kStage)),
        lane(static_cast<int>(threadIdx.x) & 31), warp(static_cast<int>(threadIdx.x) >> 5), thread(static_cast<int>(threadIdx.x)) {}

  // Sixteen heads from `head` on of a row; zeros where there are fewer.
  __device__ __forceinline__ void fetch_q(const LatentAttentionArgs& a, int row, int head) const {
    const bf16* from = a.q + static_cast<long long>(row) * a.ld + static_cast<long long>(head) * kWidth;
    for (int i = thread; i < 16 * (kWidth / 8); i += kThreads) {
      const int h = i / (kWidth / 8), piece = i % (kWidth / 8);
      const bool there = head + h < a.heads;
      copy_async16(q + kv_offset(h, piece * 8, kWidth), there ? from + static_cast<long long>(h) * kWidth + piece * 8 : from, there);
    }
  }
  // Keys [32 block, 32 block + 32) of the row; those behind `position` are zeros: probability 0 times a stray NaN is NaN.
  __device__ __forceinline__ void fetch_keys(const LatentAttentionArgs& a, const std::int32_t* pages, int block, int position) const {
    constexpr int kParts = static_cast<int>(kPage) / kKeys;
    const bf16* from = a.pages.base + pages[block / kParts] * a.pages.page_stride + (block % kParts) * kStage;
    bf16* to = stages + (block & 1) * kStage;
    for (int i = thread; i < kStage / 8; i += kThreads) copy_async16(to + i * 8, from + i * 8, block * kKeys + i / (kWidth / 8) <= position);
  }

  // Scores of this warp's eight keys into shared memory: two halves of the depth, then their sum.
  __device__ __forceinline__ void make_scores(const bf16* keys) const {
    float part[2][4] = {};
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int k = 0; k < kWidth / 64; ++k) {
        const int column = half * (kWidth / 2) + k * 32;
        std::uint32_t a[4], b[4];
        load_b<kWidth>(b, keys, warp * 8, column, lane);
        load_a<kWidth>(a, q, 0, column, lane);
        mma(part[half], a, b[0], b[1]);
        load_a<kWidth>(a, q, 0, column + 16, lane);
        mma(part[half], a, b[2], b[3]);
      }
    float* to = scores + (lane >> 2) * kScoreLine + warp * 8 + (lane & 3) * 2;
    to[0] = __fadd_rn(part[0][0], part[1][0]), to[1] = __fadd_rn(part[0][1], part[1][1]);
    to[8 * kScoreLine] = __fadd_rn(part[0][2], part[1][2]), to[8 * kScoreLine + 1] = __fadd_rn(part[0][3], part[1][3]);
  }

  // One block, of which the first `limit` keys are seen.
  __device__ __forceinline__ void add_block(State& state, const bf16* keys, int limit, float sl2) const {
    float s[4][4], top[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (int n = 0; n < 4; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int key = n * 8 + (lane & 3) * 2 + (e & 1);
        s[n][e] = key < limit ? scores[((lane >> 2) + (e >> 1) * 8) * kScoreLine + key] : -INFINITY;
        top[e >> 1] = fmaxf(top[e >> 1], s[n][e]);
      }
    float shift[2], scale[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      scale[i] = move_maximum(state.m[i], quad_max(top[i]), sl2, shift[i]);
      state.l[i] = __fmul_rn(state.l[i], scale[i]);
    }
#pragma unroll
    for (int n = 0; n < 4; ++n) exponentials(s[n], shift, sl2, state.l);
#pragma unroll
    for (int n = 0; n < kColumns / 8; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) state.o[n][e] = __fmul_rn(state.o[n][e], scale[e >> 1]);
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      std::uint32_t p[4];
      accumulators_to_a(p, s[2 * k], s[2 * k + 1]);
#pragma unroll
      for (int n = 0; n < kColumns / 16; ++n) {
        std::uint32_t b[4];
        load_b_trans<kWidth>(b, keys, k * 16, warp * kColumns + n * 16, lane);
        mma(state.o[2 * n], p, b[0], b[1]);
        mma(state.o[2 * n + 1], p, b[2], b[3]);
      }
    }
  }

  // Blocks [begin, end) of a row at `position`; after the last block of a chunk, finished(block) is called.
  template <class Finished>
  __device__ __forceinline__ void run(State& state, const LatentAttentionArgs& a, const std::int32_t* pages, int begin, int end, int position, float sl2,
                                      Finished&& finished) const {
    fetch_keys(a, pages, begin, position);
    copy_commit();
    for (int block = begin; block < end; ++block) {
      copy_wait<0>();
      __syncthreads();  // and everybody is done with the block before
      if (block + 1 < end) fetch_keys(a, pages, block + 1, position);
      copy_commit();
      const bf16* keys = stages + (block & 1) * kStage;
      make_scores(keys);
      __syncthreads();
      add_block(state, keys, position + 1 - block * kKeys, sl2);
      if (block % kBlocks == kBlocks - 1 || block == end - 1) {
        state.finish_chunk();
        finished(block);
      }
    }
    __syncthreads();  // before q or the keys are fetched anew
  }

  // After block `block`, a chunk's last, of a row whose chunks come one after another: state = the merge so far; at the row's last, all of it.
  __device__ __forceinline__ void next_chunk(State& state, State& earlier, int block, int end, float sl2) const {
    if (block >= kBlocks) state.merge_earlier(SavedState{earlier}, sl2);
    if (block == end - 1) return;
    earlier = state;
    state.reset();
  }

  __device__ __forceinline__ void store(const State& state, const LatentAttentionArgs& a, int row, int head) const {
    bf16* out[2];
    float* const lse[2] = {nullptr, nullptr};
    bool valid[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int h = head + (lane >> 2) + i * 8;
      valid[i] = h < a.heads;
      out[i] = a.out + (static_cast<long long>(row) * a.heads + h) * kLatentRank + warp * kColumns;
    }
    state.store(out, lse, valid, a.scale, lane);
  }
};

__global__ void __launch_bounds__(kThreads, 2) decode_kernel(LatentAttentionArgs a, const DecodeItem* items, const std::int32_t* count,
                                                             const std::int32_t* tables, float* partials, std::int32_t* counters) {
  extern __shared__ __align__(128) unsigned char shared[];
  __shared__ int arrived;
  const Work w(shared);
  const int parts = (static_cast<int>(a.heads) + 15) / 16;
  const float sl2 = __fmul_rn(a.scale, kLog2E);
  let_next_start();
  wait_for_previous();
  const int work = *count * parts;
  for (int i = static_cast<int>(blockIdx.x); i < work; i += static_cast<int>(gridDim.x)) {
    const DecodeItem item = items[i / parts];
    const int part = i % parts, chunks = item.position / kChunk + 1;
    const int begin = item.chunk * kBlocks, end = min(begin + item.count * kBlocks, item.position / kKeys + 1);
    w.fetch_q(a, item.row, part * 16);
    State state, earlier;
    state.reset();
    earlier.reset();
    w.run(state, a, tables + item.table, begin, end, item.position, sl2, [&](int block) {
      if (item.count > 1) w.next_chunk(state, earlier, block, end, sl2);
    });
    if (item.count < chunks) {
      const auto saved = [&](int chunk) {
        const long long slot = (static_cast<long long>(item.slot) + chunk) * parts + part;
        return SavedGlobal{reinterpret_cast<float4*>(partials + slot * kPartialFloats), kThreads, w.thread};
      };
      save_state(state, saved(item.chunk));
      __threadfence();
      __syncthreads();
      std::int32_t* counter = counters + static_cast<long long>(item.row) * parts + part;
      if (w.thread == 0) arrived = atomicAdd(counter, 1);
      __syncthreads();
      if (arrived != chunks - 1) continue;
      // The last to arrive merges them all, in order.
      __threadfence();
      load_state(state, saved(0));
      for (int c = 1; c < chunks; ++c) {
        earlier = state;
        load_state(state, saved(c));
        state.merge_earlier(SavedState{earlier}, sl2);
      }
      if (w.thread == 0) *counter = 0;
    }
    w.store(state, a, item.row, part * 16);
  }
}

__global__ void __launch_bounds__(kThreads, 2) prefill_kernel(LatentAttentionArgs a, const PrefillItem* items, const std::int32_t* tables) {
  extern __shared__ __align__(128) unsigned char shared[];
  const Work w(shared);
  let_next_start();
  wait_for_previous();
  const PrefillItem item = items[blockIdx.x];
  const int r = static_cast<int>(blockIdx.z), head = static_cast<int>(blockIdx.y) * 16;
  if (r >= item.count) return;
  const int position = item.position + r, end = position / kKeys + 1;
  const float sl2 = __fmul_rn(a.scale, kLog2E);
  w.fetch_q(a, item.row + r, head);
  State state, earlier;
  state.reset();
  earlier.reset();
  w.run(state, a, tables + item.table, 0, end, position, sl2, [&](int block) { w.next_chunk(state, earlier, block, end, sl2); });
  w.store(state, a, item.row + r, head);
}

template <class Kernel>
void allow_shared(Kernel* kernel) {
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kShared), "latent attention's shared memory");
}

}  // namespace

std::size_t latent_partial_bytes(std::int64_t slots, std::int64_t heads) {
  return static_cast<std::size_t>(slots * ((heads + 15) / 16) * kPartialFloats) * sizeof(float);
}

int latent_decode_blocks() {
  int device = 0, processors = 0, per_processor = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
  allow_shared(decode_kernel);
  cudaOccupancyMaxActiveBlocksPerMultiprocessor(&per_processor, decode_kernel, kThreads, kShared);
  check_launch("latent_decode_blocks");
  return std::max(1, processors * per_processor);
}

void latent_decode(Stream s, const LatentAttentionArgs& args, const DecodeItem* items, const std::int32_t* count, const std::int32_t* tables,
                   float* partials, std::int32_t* counters, int blocks) {
  static const bool once = (allow_shared(decode_kernel), true);
  (void)once;
  launch_early(s, decode_kernel, dim3(static_cast<unsigned>(blocks)), dim3(kThreads), static_cast<std::size_t>(kShared), args, items, count, tables, partials,
               counters);
}

void latent_prefill(Stream s, const LatentAttentionArgs& args, const PrefillItem* items, std::int64_t n, const std::int32_t* tables) {
  if (n == 0) return;
  static const bool once = (allow_shared(prefill_kernel), true);
  (void)once;
  const dim3 grid(static_cast<unsigned>(n), static_cast<unsigned>((args.heads + 15) / 16), static_cast<unsigned>(kPage));
  launch_early(s, prefill_kernel, grid, dim3(kThreads), static_cast<std::size_t>(kShared), args, items, tables);
}

}  // namespace r1::gpu
