// Drawing under top-k, top-p and min-p.
#include "kernels/gpu/vocab_select.cuh"

namespace r1::gpu {
namespace {

constexpr int kSmallK = 256;  // top-k up to which the kept tokens fit a list

// All threads. The mass of what is kept goes to *sum in every case.
__device__ void draw_from_list(Selection& sel, const Weights& w, const float* row, double uniform, std::int32_t* chosen, double* sum) {
  const int n = static_cast<int>(sel.count), first = static_cast<int>(threadIdx.x), step = static_cast<int>(blockDim.x);
  const Cut cut = w.cut;
  for (int i = first; i < n; i += step) {
    const u32 order = sel.orders[i];
    bool kept = order > cut.order;
    if (order == cut.order) {
      u32 before = 0;
      for (int j = 0; j < n; ++j) before += sel.orders[j] == order && sel.ids[j] < sel.ids[i];
      kept = before < cut.ties;
    }
    sel.masses[i] = kept ? fixed_mass(w.kept(row[sel.ids[i]])) : 0;
  }
  __syncthreads();
  for (int i = first; i < n; i += step) {
    u64 before = 0, total = 0;
    for (int j = 0; j < n; ++j) {
      total += sel.masses[j];
      if (sel.ids[j] < sel.ids[i]) before += sel.masses[j];
    }
    u64 goal = static_cast<u64>(uniform * static_cast<double>(total));
    if (goal >= total) goal = total - 1;
    if (sel.masses[i] != 0 && before <= goal && goal < before + sel.masses[i])
      *chosen = sel.ids[i], *sum = static_cast<double>(total) / static_cast<double>(kMassUnit);
  }
}

// All threads: masses [kSegments] of what is kept; returns their total without regard to ties. Ends behind a barrier.
__device__ void segment_masses(const float* row, i64 v, const Weights& w, Mass* masses) {
  const i64 size = segment_size(v);
  for (int segment = static_cast<int>(threadIdx.x) >> 5; segment < kSegments; segment += static_cast<int>(blockDim.x) >> 5) {
    const i64 begin = segment * size, end = begin + size < v ? begin + size : v;
    const Mass mass = mass_of<true>(row, begin, end, w);
    if ((threadIdx.x & 31) == 0) masses[segment] = mass;
  }
  __syncthreads();
}

// The mass that top-p keeps of a total, in fixed_mass() units.
__device__ u64 mass_goal(double total, float top_p) {
  const double goal = total * static_cast<double>(top_p);
  return goal < 1.0 ? 1 : static_cast<u64>(goal);
}
__device__ Cut both(Cut top_k, Cut top_p) {
  if (top_p.order == top_k.order && top_k.ties < top_p.ties) top_p.ties = top_k.ties;
  return top_p;
}

__global__ void __launch_bounds__(kVocabThreads) filtered_kernel(const float* logits, i64 ld, i64 v, const Draw* draws, Drawn* out,
                                                                 std::int32_t* last_token) {
  __shared__ SoftmaxSums segments[kSegments];
  __shared__ Mass masses[kSegments];
  __shared__ float tops[kSegments * 32];
  __shared__ Selection sel;
  __shared__ std::int32_t chosen;
  __shared__ double kept_mass;
  const Draw draw = draws[blockIdx.x];
  const float* row = logits + draw.row * ld;
  Weights w;
  w.scale = scale_of(draw.temperature);
  w.all = row_statistics<true>(row, v, w.scale, segments, tops);
  const SoftmaxSums& all = w.all;
  if (threadIdx.x == 0) chosen = -1, kept_mass = static_cast<double>(all.s);
  __syncthreads();
  const bool good = all.s > 0.f && all.s < INFINITY && fabsf(all.m) < INFINITY;
  const bool top_k = draw.top_k > 0 && draw.top_k < v, top_p = draw.top_p < 1.f;
  if (good && draw.temperature == 0.f) {
    greedy(row, v, all, segments, &chosen);
  } else if (good && !top_k && !top_p && !(draw.min_p > 0.f)) {
    // As the quick kernel: the bits of a draw must not depend on the filters of others in the launch.
    draw_from_all(row, v, w, segments, masses, draw.uniform, &chosen);
  } else if (good && top_k && draw.top_k <= kSmallK && list_largest(row, v, w, sel, tops, draw.top_k)) {
    w.cut = cut_of_list<false>(sel, static_cast<u64>(draw.top_k), 0);
    if (top_p) {
      // The ties of top-k weigh the same, so only their number matters.
      u64 total = 0, tied = 0, one = 0;
      for (u32 i = 0; i < sel.count; ++i) {
        if (sel.orders[i] > w.cut.order) total += sel.masses[i];
        if (sel.orders[i] == w.cut.order) ++tied, one = sel.masses[i];
      }
      total += one * (tied < w.cut.ties ? tied : w.cut.ties);
      w.cut = both(w.cut, cut_of_list<true>(sel, mass_goal(static_cast<double>(total), draw.top_p), w.cut.order));
    }
    w.cut.min_p = draw.min_p;
    draw_from_list(sel, w, row, draw.uniform, &chosen, &kept_mass);
  } else if (good) {
    if (top_k) w.cut = smallest_set<false>(row, v, w, sel, static_cast<u64>(draw.top_k), 0, INFINITY);
    if (top_p) {
      double total = static_cast<double>(all.s);
      if (top_k) {
        segment_masses(row, v, w, masses);
        total = pick(masses[threadIdx.x & 31], Place(), static_cast<double>(w.plain(value_of(w.cut.order))), w.cut, 0.0, true).total;
        __syncthreads();
      }
      // What lies further off weighs less than half of what top-p drops.
      const float far = log2f(static_cast<float>(v) / (0.5f * (1.f - draw.top_p) * static_cast<float>(total)));
      w.cut = both(w.cut, smallest_set<true>(row, v, w, sel, mass_goal(total * static_cast<double>(kMassUnit), draw.top_p), w.cut.order, far));
    }
    w.cut.min_p = draw.min_p;
    segment_masses(row, v, w, masses);
    const double total = draw_in_order<true>(row, v, w, masses, draw.uniform, &chosen);
    if (threadIdx.x == 0) kept_mass = total;
  }
  __syncthreads();
  if (threadIdx.x == 0) finish_draw(row, w.scale, all, static_cast<float>(kept_mass), all.m, chosen, draw.slot, out + blockIdx.x, last_token);
}

}  // namespace

void sample_filtered(Stream s, const float* logits, i64 ld, i64 v, const Draw* draws, i64 n, Drawn* out, std::int32_t* last_token) {
  filtered_kernel<<<static_cast<unsigned>(n), vocab_threads(n), 0, s>>>(logits, ld, v, draws, out, last_token);
  check_launch("sample_rows");
}

}  // namespace r1::gpu
