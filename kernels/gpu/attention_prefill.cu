// Prefill and training's forward attention: up to 64 rows of a sequence a block, one warp for 16 of them.
#include "kernels/gpu/attention_tile.cuh"
#include "kernels/gpu/common.cuh"

namespace r1::gpu {
namespace {

template <int HD>
constexpr int kTile = 64 * HD;  // elements

template <int HD>
__global__ void __launch_bounds__(128) prefill_kernel(AttentionOperands a, const PrefillItem* items, const std::int32_t* tables) {
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
constexpr int kPrefillShared = 2 * 2 * kTile<HD> * 2 + 128 * 16 * (HD / 8 + 1);

}  // namespace

void attention_prefill(Stream s, const AttentionArgs& args, const PrefillItem* items, std::int64_t n, const std::int32_t* tables) {
  if (n == 0) return;
  with_head_dim(args.pages.head_dim, [&](auto constant) {
    constexpr int HD = constant;
    static const cudaError_t once = cudaFuncSetAttribute(prefill_kernel<HD>, cudaFuncAttributeMaxDynamicSharedMemorySize, kPrefillShared<HD>);
    (void)once;
    prefill_kernel<HD><<<dim3(static_cast<unsigned>(n), static_cast<unsigned>(args.heads)), 128, kPrefillShared<HD>, s>>>(
        operands(args), items, tables);
  });
  check_launch("attention_prefill");
}

}  // namespace r1::gpu
