// The router against model/router.h's rules written out, the sort, and the experts' products against the dense ones of the same rows.
#include "kernels/gpu/experts.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "kernels/gpu/gemm.h"
#include "kernels/gpu/small_gemm.h"
#include "kernels/gpu/test_support.h"

namespace r1::gpu::test {
namespace {

struct Choice { std::vector<std::int32_t> experts; std::vector<double> weights; };

// In double; scores that are far enough apart are ordered alike in float.
Choice expected(const RouteArgs& a, const float* logits, const std::vector<float>& bias) {
  const auto e = static_cast<std::size_t>(a.experts), k = static_cast<std::size_t>(a.chosen);
  std::vector<double> s(logits, logits + e);
  const double top = *std::max_element(s.begin(), s.end());
  double sum = 0;
  for (double& v : s) v = a.sigmoid ? 1 / (1 + std::exp(-v)) : std::exp(v - top), sum += v;
  for (double& v : s) v = a.sigmoid ? v : v / sum;
  std::vector<double> ranked = s;
  for (std::size_t i = 0; i < bias.size(); ++i) ranked[i] += bias[i];
  const auto best = [](const std::vector<double>& v, std::size_t count) {
    std::vector<std::int32_t> order(v.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](auto x, auto y) { return v[static_cast<std::size_t>(x)] > v[static_cast<std::size_t>(y)]; });
    order.resize(count);
    std::sort(order.begin(), order.end());
    return order;
  };
  if (a.top_groups < a.groups) {
    const std::size_t width = e / static_cast<std::size_t>(a.groups);
    std::vector<double> groups;
    for (std::size_t g = 0; g * width < e; ++g) {
      std::vector<double> part(ranked.begin() + static_cast<std::ptrdiff_t>(g * width), ranked.begin() + static_cast<std::ptrdiff_t>((g + 1) * width));
      std::sort(part.rbegin(), part.rend());
      groups.push_back(a.sigmoid ? part[0] + part[1] : part[0]);
    }
    const auto kept = best(groups, static_cast<std::size_t>(a.top_groups));
    for (std::size_t g = 0; g * width < e; ++g)
      if (!std::binary_search(kept.begin(), kept.end(), static_cast<std::int32_t>(g)))
        std::fill_n(ranked.begin() + static_cast<std::ptrdiff_t>(g * width), width, -std::numeric_limits<double>::infinity());
  }
  Choice out{best(ranked, k), {}};
  double chosen = 0;
  for (const std::int32_t i : out.experts) chosen += s[static_cast<std::size_t>(i)];
  for (const std::int32_t i : out.experts) out.weights.push_back(s[static_cast<std::size_t>(i)] / (a.normalise ? chosen + double{a.epsilon} : 1.0) * double{a.scale});
  return out;
}

}  // namespace

TEST_CASE("the router: softmax and sigmoid, groups, bias, normalisation and scale; replay; ties; NaN") {
  R1_NEEDS_GPU();
  struct Case { i64 experts, chosen, groups, top; bool sigmoid, bias, normalise; float scale; };
  for (const Case& c : {Case{8, 2, 1, 1, false, false, true, 1.f}, Case{64, 6, 1, 1, false, false, false, 1.f}, Case{60, 4, 1, 1, false, false, false, 1.f},
                        Case{128, 8, 1, 1, false, false, true, 1.f}, Case{160, 6, 8, 3, false, false, false, 16.f}, Case{256, 8, 8, 4, true, true, true, 2.5f},
                        Case{16, 4, 4, 2, true, true, true, 1.5f}, Case{512, 10, 1, 1, false, false, true, 1.f}}) {
    INFO(c.experts, " experts, ", c.chosen, " chosen, ", c.groups, " groups");
    const i64 n = 300;
    const std::vector<float> logits = floats(n * c.experts, 1, 2.f), bias_host = c.bias ? floats(c.experts, 2, 0.3f) : std::vector<float>{};
    const Array<float> in(logits), bias(c.bias ? bias_host : std::vector<float>(1, 0.f));
    RouteArgs a;
    a.experts = c.experts, a.chosen = c.chosen, a.groups = c.groups, a.top_groups = c.top, a.sigmoid = c.sigmoid, a.normalise = c.normalise;
    a.scale = c.scale, a.epsilon = c.sigmoid ? 1e-20f : 0.f, a.bias = c.bias ? bias.ptr() : nullptr;
    const Array<std::int32_t> experts(n * c.chosen);
    const Array<float> weights(n * c.chosen);
    const i64 ld = c.chosen + 8;
    const Array<std::uint16_t> record(n * ld);
    a.record = record, a.ld = ld;
    route_rows(stream(), a, in, n, experts, weights);
    const auto got = experts.get();
    const auto got_weights = weights.get();
    const auto recorded = record.get();
    int different = 0;
    Worst worst;
    for (i64 i = 0; i < n; ++i) {
      const Choice want = expected(a, logits.data() + i * c.experts, bias_host);
      const bool same = std::equal(want.experts.begin(), want.experts.end(), got.begin() + i * c.chosen);
      different += !same;
      for (i64 k = 0; k < c.chosen; ++k) {
        CHECK(recorded[size(i * ld + k)] == got[size(i * c.chosen + k)]);
        if (same) worst.take(got_weights[size(i * c.chosen + k)], want.weights[size(k)], 1e-7, 1e-5);
      }
    }
    CHECK(different <= 1);  // two scores closer than float32 tells
    CHECK(worst.ratio <= 1);
    CHECK(worst.count > 0);
    // A row alone, and the recorded choice replayed in another order.
    const Array<std::int32_t> again(n * c.chosen);
    const Array<float> again_weights(n * c.chosen);
    a.record = nullptr;
    route_rows(stream(), a, in.ptr() + 7 * c.experts, 1, again, again_weights);
    CHECK(same_bits(again.get(), 0, got, 7 * c.chosen, c.chosen));
    CHECK(same_bits(again_weights.get(), 0, got_weights, 7 * c.chosen, c.chosen));
    std::vector<std::uint16_t> turned = recorded;
    for (i64 i = 0; i < n; ++i) std::reverse(turned.begin() + i * ld, turned.begin() + i * ld + c.chosen);
    const Array<std::uint16_t> replay(turned);
    a.replay = replay;
    route_rows(stream(), a, in, n, again, again_weights);
    CHECK(same_bits(again.get(), got));
    CHECK(same_bits(again_weights.get(), got_weights));
  }
  // All equal, then NaN: the first experts, all different.
  RouteArgs a;
  a.experts = 100, a.chosen = 6;
  std::vector<float> rows(200, 1.f);
  std::fill(rows.begin() + 100, rows.end(), NAN);
  const Array<std::int32_t> experts(12);
  const Array<float> weights(12);
  route_rows(stream(), a, Array<float>(rows), 2, experts, weights);
  CHECK(experts.get() == std::vector<std::int32_t>{0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5});
}

TEST_CASE("entries sorted by expert, in tiles that hold each once") {
  R1_NEEDS_GPU();
  for (const i64 entries : {i64{1}, i64{6}, i64{300}, i64{6 * 4096}})
    for (const i64 experts : {8, 60, 256})
      for (const i64 tokens : {8, 32, 128}) {
        std::vector<std::int32_t> of(size(entries));
        Random random(static_cast<std::uint64_t>(entries + experts));
        for (auto& e : of) e = std::min(random.below(experts), random.below(experts));  // uneven
        const i64 most = expert_tiles(entries, experts, tokens);
        const Array<std::int32_t> in(of), sorted(entries), count(1);
        const Array<ExpertTile> tiles(most);
        sort_by_expert(stream(), in, entries, experts, tokens, sorted, tiles, count);
        const auto order = sorted.get();
        const auto number = count.get()[0];
        const auto list = tiles.get();
        REQUIRE(number <= most);
        std::vector<int> seen(size(entries), 0);
        std::int32_t next = 0;
        for (std::int32_t t = 0; t < number; ++t) {
          const ExpertTile& tile = list[static_cast<std::size_t>(t)];
          CHECK(tile.first == next);
          CHECK(tile.count > 0);
          CHECK(tile.count <= tokens);
          for (std::int32_t i = 0; i < tile.count; ++i) {
            const auto entry = static_cast<std::size_t>(order[static_cast<std::size_t>(next + i)]);
            ++seen[entry];
            CHECK(of[entry] == tile.expert);
          }
          next += tile.count;
        }
        CHECK(next == entries);
        CHECK(std::all_of(seen.begin(), seen.end(), [](int times) { return times == 1; }));
      }
}

TEST_CASE("the experts' products have the bits of dense products of the same rows, whatever the tile; their sum has its order") {
  R1_NEEDS_GPU();
  const i64 d = 192, f = 128, experts = 6, chosen = 3, n = 500, gate_up_elements = 2 * f * d, stride = 3 * f * d + 32;
  const Array<bf16> x(bf16s(n * d, 1)), w(bf16s(experts * stride, 2, 0.1f));
  std::vector<std::int32_t> of;
  Random random(3);
  for (i64 i = 0; i < n; ++i) {  // expert 4 is nobody's; 0 is everybody's but of a few
    of.push_back(random.below(9) == 0 ? 1 : 0), of.push_back(2 + random.below(2)), of.push_back(5);
  }
  const std::vector<float> weights_host = floats(n * chosen, 4), shared_host = floats(n * d, 5), gate_host = floats(n, 6), h_host = floats(n * d, 7);
  const Array<std::int32_t> ids(of);
  const Array<float> weights(weights_host), shared(shared_host), gate(gate_host), h(h_host);
  // Every expert on every row, by the dense kernel.
  std::vector<std::vector<bf16>> act_of;
  std::vector<std::vector<float>> out_of;
  for (i64 e = 0; e < experts; ++e) {
    const Array<bf16> act(n * f);
    const Array<float> out(n * d);
    SmallGemm p;
    p.x = x, p.w = w.ptr() + e * stride, p.ldx = p.ldw = d, p.m = n, p.n = 2 * f, p.k = d, p.out = SmallOut::kSwiglu, p.y = act.ptr(), p.ldy = f;
    const auto fitting = [&] {
      for (int tile = 0; tile < small_gemm_tiles(); ++tile)
        if (small_gemm_fits(p, tile)) return tile;
      return -1;
    };
    REQUIRE(fitting() >= 0);
    small_gemm(stream(), p, fitting());
    SmallGemm q;
    q.x = act, q.w = w.ptr() + e * stride + gate_up_elements, q.ldx = q.ldw = f, q.m = n, q.n = d, q.k = f, q.out = SmallOut::kF32, q.y = out.ptr(), q.ldy = d;
    p = q;
    REQUIRE(fitting() >= 0);
    small_gemm(stream(), p, fitting());
    act_of.push_back(act.get()), out_of.push_back(out.get());
  }
  for (const i64 tokens : {8, 16, 32, 64, 128})
    for (const i64 rows : {i64{1}, i64{40}, n}) {
      INFO("tiles of ", tokens, ", ", rows, " rows");
      const i64 entries = rows * chosen, most = expert_tiles(entries, experts, tokens);
      const Array<std::int32_t> sorted(entries), count(1);
      const Array<ExpertTile> tiles(most);
      const Array<bf16> act(entries * f);
      const Array<float> out(entries * d), sum(rows * d), with_shared(rows * d);
      sort_by_expert(stream(), ids, entries, experts, tokens, sorted, tiles, count);
      ExpertProduct p;
      p.sorted = sorted, p.tiles = tiles, p.count = count, p.max_tiles = most, p.tokens = tokens, p.chosen = chosen, p.stride = stride;
      p.w = w, p.n = 2 * f, p.k = d;
      expert_gate_up(stream(), p, x, act);
      p.w = w.ptr() + gate_up_elements, p.n = d, p.k = f;
      expert_down(stream(), p, act, out);
      combine_experts(stream(), h, out, weights, rows, chosen, d, nullptr, nullptr, sum);
      combine_experts(stream(), h, out, weights, rows, chosen, d, shared, gate, with_shared);
      const auto places = sorted.get();
      const auto acts = act.get();
      const auto outs = out.get(), sums = sum.get(), shared_sums = with_shared.get();
      int wrong = 0;
      for (i64 place = 0; place < entries; ++place) {
        const i64 entry = places[size(place)], token = entry / chosen;
        const auto e = static_cast<std::size_t>(of[size(entry)]);
        wrong += !same_bits(acts, place * f, act_of[e], token * f, f);
        wrong += !same_bits(outs, entry * d, out_of[e], token * d, d);
      }
      CHECK(wrong == 0);
      for (i64 i = 0; i < rows * d; ++i) {
        const i64 token = i / d;
        float want = h_host[size(i)];
        for (i64 k = 0; k < chosen; ++k) want = std::fma(weights_host[size(token * chosen + k)], outs[size((token * chosen + k) * d + i % d)], want);
        wrong += std::memcmp(&want, &sums[size(i)], 4) != 0;
        want = std::fma(gate_host[size(token)], shared_host[size(i)], want);
        wrong += std::memcmp(&want, &shared_sums[size(i)], 4) != 0;
      }
      CHECK(wrong == 0);
    }
}

TEST_CASE("the shared expert's gate") {
  R1_NEEDS_GPU();
  const i64 n = 70, d = 1032;
  const auto x = bf16s(n * d, 1), w = bf16s(d, 2, 0.1f);
  const Array<float> out(n);
  sigmoid_gate(stream(), Array<bf16>(x), Array<bf16>(w), n, d, out);
  const auto got = out.get();
  Worst worst;
  for (i64 i = 0; i < n; ++i) {
    double z = 0;
    for (i64 j = 0; j < d; ++j) z += value(x[size(i * d + j)]) * value(w[size(j)]);
    worst.take(got[size(i)], 1 / (1 + std::exp(-z)), 1e-5, 1e-5);
  }
  CHECK(worst.ratio <= 1);
}

}  // namespace r1::gpu::test
