// Drawing under top-k, top-p and min-p: the cut is found exactly, digit by digit of the logits' bits, without sorting.
#include "kernels/gpu/vocab_draw.cuh"

namespace r1::gpu {
namespace {

// Bits of a float in the order of its value.
__device__ __forceinline__ u32 order_of(float x) {
  const u32 bits = __float_as_uint(x == 0.f ? 0.f : x);
  return bits ^ ((bits & 0x80000000u) ? 0xffffffffu : 0x80000000u);
}
// Masses as integers, so that sums do not depend on the order of the additions: 2^-42 of the largest token's.
__device__ __forceinline__ unsigned long long fixed_mass(float e) { return static_cast<unsigned long long>(static_cast<double>(e) * 4398046511104.0); }

// What is kept: logits above `cut`, and of those equal to it the first `ties` by id.
struct Cut {
  u32 order = 0;
  std::uint32_t ties = 0xffffffffu;
};

// All threads. The smallest set of the largest logits within `within` whose weight (1 each, or their mass) reaches `goal`.
template <bool kByMass>
__device__ Cut smallest_set(const float* row, i64 v, float scale, const SoftmaxSums& all, Cut within, unsigned long long goal) {
  __shared__ unsigned long long bins[256];
  __shared__ u32 prefix;
  __shared__ unsigned long long left;
  if (threadIdx.x == 0) prefix = 0, left = goal;
  // Ties at the bound of `within` count as far as they are kept; their share is added to the bin as a whole below.
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (int i = static_cast<int>(threadIdx.x); i < 256; i += kVocabThreads) bins[i] = 0;
    __syncthreads();
    const u32 high = shift == 24 ? 0u : ~0u << (shift + 8), known = prefix;
    for (i64 i = threadIdx.x; i < v; i += kVocabThreads) {
      const u32 order = order_of(row[i]);
      if (order <= within.order || (order & high) != known) continue;
      const float e = all.weight(__fmul_rn(row[i], scale));
      if (e > 0.f) atomicAdd(&bins[order >> shift & 255], kByMass ? fixed_mass(e) : 1ull);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      if (within.ties > 0 && (within.order & high) == known && within.order != 0) {
        // The tied logits of the earlier cut.
        unsigned long long one = kByMass ? 0 : 1, count = 0;
        for (i64 i = 0; i < v && count < within.ties; ++i)
          if (order_of(row[i]) == within.order) {
            ++count;
            if (kByMass) one = fixed_mass(all.weight(__fmul_rn(row[i], scale)));
          }
        bins[within.order >> shift & 255] += one * count;
      }
      int digit = 255;
      for (; digit > 0; --digit) {
        if (bins[digit] >= left) break;
        left -= bins[digit];
      }
      prefix |= static_cast<u32>(digit) << shift;
    }
    __syncthreads();
  }
  // `left` is what the logits equal to `prefix` must still give.
  Cut cut;
  cut.order = prefix;
  unsigned long long one = 1;
  if (kByMass) {
    const u32 bits = prefix ^ ((prefix & 0x80000000u) ? 0x80000000u : 0xffffffffu);
    one = fixed_mass(all.weight(__fmul_rn(__uint_as_float(bits), scale)));
  }
  const unsigned long long ties = one == 0 ? 0xfffffffeull : (left + one - 1) / one;
  cut.ties = static_cast<std::uint32_t>(ties < 1 ? 1 : ties > 0xfffffffeull ? 0xfffffffeull : ties);
  __syncthreads();
  return cut;
}

__global__ void __launch_bounds__(kVocabThreads) filtered_kernel(const float* logits, i64 ld, i64 v, const Draw* draws, Drawn* out,
                                                                 std::int32_t* last_token) {
  __shared__ SoftmaxSums segments[kVocabWarps];
  __shared__ std::int32_t chosen;
  __shared__ double kept_mass;
  __shared__ unsigned long long fixed_total;
  const Draw draw = draws[blockIdx.x];
  const float* row = logits + draw.row * ld;
  const float scale = scale_of(draw.temperature);
  const SoftmaxSums all = row_statistics<true>(row, v, scale, segments);
  if (threadIdx.x == 0) chosen = -1, kept_mass = static_cast<double>(all.s), fixed_total = 0;
  __syncthreads();
  const bool good = all.s > 0.f && all.s < INFINITY && fabsf(all.m) < INFINITY;
  if (good && draw.temperature == 0.f) {
    greedy(row, v, &chosen);
  } else if (good && !(draw.top_k > 0 && draw.top_k < v) && !(draw.top_p < 1.f) && !(draw.min_p > 0.f)) {
    // As the quick kernel: the bits of a draw must not depend on the filters of others in the launch.
    if (threadIdx.x < 32) draw_in_order(row, v, scale, all, segments, draw.uniform, &chosen);
  } else if (good) {
    Cut cut;
    if (draw.top_k > 0 && draw.top_k < v) cut = smallest_set<false>(row, v, scale, all, cut, static_cast<unsigned long long>(draw.top_k));
    const auto weight = [&](float logit) { return all.weight(__fmul_rn(logit, scale)); };
    if (draw.top_p < 1.f) {
      // Mass of what top-k kept; its ties by id.
      unsigned long long mine = 0;
      for (i64 i = threadIdx.x; i < v; i += kVocabThreads)
        if (order_of(row[i]) > cut.order || cut.order == 0) mine += fixed_mass(weight(row[i]));
      atomicAdd(&fixed_total, mine);
      __syncthreads();
      if (threadIdx.x == 0 && cut.order != 0) {
        std::uint32_t count = 0;
        for (i64 i = 0; i < v && count < cut.ties; ++i)
          if (order_of(row[i]) == cut.order) ++count, fixed_total += fixed_mass(weight(row[i]));
      }
      __syncthreads();
      const auto goal = static_cast<unsigned long long>(static_cast<double>(fixed_total) * static_cast<double>(draw.top_p));
      cut = smallest_set<true>(row, v, scale, all, cut, goal < 1 ? 1 : goal);
    }
    if (threadIdx.x < 32) {
      // In id order, twice: the mass that is left, then the draw in it. A lane's four elements are neighbours.
      const int lane = static_cast<int>(threadIdx.x);
      const auto kept = [&](float logit, std::uint32_t ties_before) {
        const u32 order = order_of(logit);
        const float e = weight(logit);
        if (cut.order != 0 && (order < cut.order || (order == cut.order && ties_before >= cut.ties))) return 0.f;
        return e < draw.min_p && e < 1.f ? 0.f : e;
      };
      double total = 0.0, goal = 0.0;
      std::int32_t token = -1;
      for (int pass = 0; pass < 2; ++pass) {
        double sum = 0.0;
        std::uint32_t ties = 0;
        for (i64 base = 0; base < v; base += 128) {
          float e[4];
          double mine = 0.0;
          std::uint32_t tied = 0;
          for (int j = 0; j < 4; ++j) {
            const i64 id = base + lane * 4 + j;
            tied += id < v && order_of(row[id]) == cut.order;
          }
          std::uint32_t before = tied;
          for (int step = 1; step < 32; step *= 2) {
            const std::uint32_t from = __shfl_up_sync(~0u, before, step);
            if (lane >= step) before += from;
          }
          const std::uint32_t all_ties = __shfl_sync(~0u, before, 31);
          before = ties + before - tied;
          std::int32_t positive = -1;
          for (int j = 0; j < 4; ++j) {
            const i64 id = base + lane * 4 + j;
            e[j] = id < v ? kept(row[id], before) : 0.f;
            before += id < v && order_of(row[id]) == cut.order;
            mine += e[j];
            if (e[j] > 0.f) positive = static_cast<std::int32_t>(id);
          }
          ties += all_ties;
          double inclusive = mine;
          for (int step = 1; step < 32; step *= 2) {
            const double from = __shfl_up_sync(~0u, inclusive, step);
            if (lane >= step) inclusive += from;
          }
          const unsigned any = __ballot_sync(~0u, positive >= 0);
          if (pass == 1) {
            if (any != 0) token = __shfl_sync(~0u, positive, 31 - __clz(static_cast<int>(any)));
            const unsigned passed = __ballot_sync(~0u, sum + inclusive > goal && mine > 0.0);
            if (passed != 0) {
              const int who = __ffs(static_cast<int>(passed)) - 1;
              std::int32_t here = positive;
              double upto = sum + inclusive;
              for (int j = 3; j >= 0; --j) {
                if (e[j] > 0.f && upto > goal) here = static_cast<std::int32_t>(base + lane * 4 + j);
                upto -= e[j];
              }
              token = __shfl_sync(~0u, here, who);
              break;
            }
          }
          sum += __shfl_sync(~0u, inclusive, 31);
        }
        if (pass == 0) total = sum, goal = draw.uniform * sum;
      }
      if (lane == 0) chosen = token, kept_mass = total;
    }
  }
  __syncthreads();
  if (threadIdx.x == 0) finish_draw(row, scale, all, static_cast<float>(kept_mass), all.m, chosen, draw.slot, out + blockIdx.x, last_token);
}

}  // namespace

void sample_filtered(Stream s, const float* logits, i64 ld, i64 v, const Draw* draws, i64 n, Drawn* out, std::int32_t* last_token) {
  filtered_kernel<<<static_cast<unsigned>(n), kVocabThreads, 0, s>>>(logits, ld, v, draws, out, last_token);
  check_launch("sample_rows");
}

}  // namespace r1::gpu
