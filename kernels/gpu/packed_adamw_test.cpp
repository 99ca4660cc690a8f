// AdamW on packed state against float32 kernels and against double; the reductions and sums that read bfloat16.
#include "kernels/gpu/packed_adamw.h"

#include <bit>

#include "core/moment8.h"
#include "core/split_float.h"
#include "kernels/gpu/gemm.h"
#include "kernels/gpu/test_support.h"
#include "kernels/gpu/weights.h"

namespace r1::gpu::test {
namespace {

std::uint32_t bits_of(float x) { return std::bit_cast<std::uint32_t>(x); }
float float_of(std::uint32_t b) { return std::bit_cast<float>(b); }
i64 blocks_of(i64 n) { return (n + kMomentBlock - 1) / kMomentBlock; }

constexpr double kRate = 0.01, kB1 = 0.9, kB2 = 0.95, kEps = 1e-8, kDecay = 0.1, kScale = 0.5;
AdamWArgs args_of(int step) {
  return {static_cast<float>(kRate), static_cast<float>(kB1), static_cast<float>(kB2), static_cast<float>(kEps), static_cast<float>(kDecay),
          static_cast<float>(1 - std::pow(kB1, step)), static_cast<float>(1 - std::pow(kB2, step)), static_cast<float>(kScale)};
}
// Gradients of very different sizes within a block.
std::vector<float> gradients(i64 n, int step) {
  auto g = floats(n, 500 + static_cast<std::uint64_t>(step), 0.1f);
  for (std::size_t i = 0; i < g.size(); ++i) g[i] *= std::pow(10.f, -static_cast<float>(i % 5));
  return g;
}

// All arrays of one form, packed or not.
struct State {
  i64 n;
  bool split, eight, gradient16;
  Array<bf16> live;
  Array<float> master, m, v, g;
  Array<std::int16_t> rest;
  Array<std::uint8_t> m8, v8, ms, vs;
  Array<bf16> g16;
  State(const std::vector<float>& start, bool split_, bool eight_, bool gradient16_)
      : n(static_cast<i64>(start.size())), split(split_), eight(eight_), gradient16(gradient16_), live(n), master(n), m(std::vector<float>(size(n))),
        v(std::vector<float>(size(n))), g(n), rest(n), m8(std::vector<std::uint8_t>(size(n))), v8(std::vector<std::uint8_t>(size(n))),
        ms(std::vector<std::uint8_t>(size(blocks_of(n)))), vs(std::vector<std::uint8_t>(size(blocks_of(n)))), g16(n) {
    std::vector<bf16> high;
    std::vector<std::int16_t> low;
    for (float x : start) {
      const SplitFloat f = split_float(bits_of(x));
      high.push_back(f.high), low.push_back(f.rest);
    }
    live.set(high), rest.set(low), master.set(start);
  }
  PackedAdamW packed() const {
    PackedAdamW t;
    t.live = live;
    if (split) t.rest = rest;
    else t.master = master;
    if (eight) t.exp_avg8 = m8, t.exp_avg_sq8 = v8, t.exp_avg_scale = ms, t.exp_avg_sq_scale = vs;
    else t.exp_avg = m, t.exp_avg_sq = v;
    if (gradient16) t.gradient16 = g16;
    else t.gradient = g;
    return t;
  }
  // Returns the gradient as the kernel reads it.
  std::vector<float> give_gradient(int step) const {
    auto x = gradients(n, step);
    if (!gradient16) return g.set(x), x;
    std::vector<bf16> rounded;
    for (float& e : x) rounded.push_back(bf16_of(e)), e = static_cast<float>(value(rounded.back()));
    g16.set(rounded);
    return x;
  }
  std::vector<float> masters() const {
    if (!split) return master.get();
    const auto h = live.get();
    const auto r = rest.get();
    std::vector<float> out;
    for (std::size_t i = 0; i < h.size(); ++i) out.push_back(float_of(join_float({h[i], r[i]})));
    return out;
  }
  std::vector<float> moments(bool second) const {
    if (!eight) return second ? v.get() : m.get();
    const auto codes = second ? v8.get() : m8.get(), scales = second ? vs.get() : ms.get();
    std::vector<float> out;
    for (std::size_t i = 0; i < codes.size(); ++i)
      out.push_back(second ? decode_exp_avg_sq(codes[i], scales[i / 256]) : decode_exp_avg(codes[i], scales[i / 256]));
    return out;
  }
};

}  // namespace

TEST_CASE("a split master with float32 moments is the float32 master bit for bit over 50 steps, ties moved as documented") {
  R1_NEEDS_GPU();
  for (const i64 n : {i64{1}, i64{7}, i64{1023}, i64{70001}}) {
    CAPTURE(n);
    auto start = floats(n, 70);
    start[0] = float_of(0x3F808000u);  // halfway above an even bfloat16
    State split(start, true, false, false), whole(start, false, false, false);
    for (float& x : start) x = float_of(splittable(bits_of(x)));
    CHECK(bits_of(start[0]) == 0x3F807FFFu);
    whole.master.set(start);
    i64 ties = 0, differing = 0, not_nearest = 0;
    for (int step = 1; step <= 50; ++step) {
      whole.give_gradient(step), split.give_gradient(step);
      // The kernel of every day, with its own live copy.
      adamw(stream(), whole.master, whole.m, whole.v, whole.g, whole.live, n, args_of(step));
      adamw_packed(stream(), split.packed(), n, args_of(step), 0, static_cast<std::uint64_t>(step));
      auto want = whole.master.get();
      for (float& w : want) {
        ties += splittable(bits_of(w)) != bits_of(w);
        w = float_of(splittable(bits_of(w)));
      }
      whole.master.set(want);
      const auto got = split.masters();
      const auto live = split.live.get(), want_live = whole.live.get();
      for (std::size_t i = 0; i < got.size(); ++i) {
        differing += bits_of(got[i]) != bits_of(want[i]) || live[i] != want_live[i];
        not_nearest += live[i] != bf16_of(got[i]);
      }
    }
    CHECK(differing == 0);
    CHECK(not_nearest == 0);
    CHECK(same_bits(split.moments(false), whole.m.get()));
    CHECK(same_bits(split.moments(true), whole.v.get()));
    if (n > 70000) CHECK(ties > 0);  // 3.5 million updates: about 27
  }
}

TEST_CASE("every form of the state follows the paper's step in double, element by element") {
  R1_NEEDS_GPU();
  for (int form = 0; form < 8; ++form) {
    for (const i64 n : {i64{5}, i64{256}, i64{3000}}) {
      const State t(floats(n, 90), (form & 1) != 0, (form & 2) != 0, (form & 4) != 0);
      CAPTURE(form);
      CAPTURE(n);
      Worst worst;
      double bias = 0, spread = 0;
      for (int step = 1; step <= 6; ++step) {
        const auto g = t.give_gradient(step), p0 = t.masters(), m0 = t.moments(false), v0 = t.moments(true);
        adamw_packed(stream(), t.packed(), n, args_of(step), 1u << 20, static_cast<std::uint64_t>(step));
        const auto p1 = t.masters(), m1 = t.moments(false), v1 = t.moments(true);
        const auto live = t.live.get();
        double most_m = 0, most_v = 0;
        for (std::size_t i = 0; i < g.size(); ++i) {
          if (i % 256 == 0) {
            most_m = most_v = 0;
            for (std::size_t j = i; j < std::min(i + 256, g.size()); ++j) {
              most_m = std::max(most_m, std::fabs(kB1 * m0[j] + (1 - kB1) * g[j] * kScale));
              most_v = std::max(most_v, kB2 * v0[j] + (1 - kB2) * g[j] * kScale * g[j] * kScale);
            }
          }
          const double grad = g[i] * kScale, m = kB1 * m0[i] + (1 - kB1) * grad, v = kB2 * v0[i] + (1 - kB2) * grad * grad;
          double p = p0[i] * (1 - kRate * kDecay);
          p -= kRate * (m / (1 - std::pow(kB1, step))) / (std::sqrt(v / (1 - std::pow(kB2, step))) + kEps);
          worst.take(p1[i], p, 2e-6, 1e-6);
          // Packed: within a code's step, 12.5 %, or the smallest code of a scale below twice the largest number.
          worst.take(m1[i], m, t.eight ? most_m * 0x1p-16 : 1e-8, t.eight ? 0.1251 : 1e-6);
          worst.take(v1[i], v, t.eight ? most_v * 0x1p-32 : 1e-10, t.eight ? 0.1251 : 1e-6);
          worst.take(value(live[i]), value(bf16_of(p1[i])), 1e-30, 0);
          if (v > 0) CHECK(v1[i] > 0);
          if (v > most_v * 0x1p-28) bias += (v1[i] - v) / v, spread += 0.125;  // above gradual underflow
        }
      }
      CHECK(worst.ratio <= 1);
      if (t.eight && n == 3000) REQUIRE(spread > 1000);
      if (t.eight && n == 3000) CHECK(std::fabs(bias / spread) < 0.02);
    }
  }
}

TEST_CASE("8-bit moments round by element and update alone: equal runs are equal, in pieces too; another update rounds otherwise") {
  R1_NEEDS_GPU();
  constexpr i64 kN = 4096 + 24;
  const auto start = floats(kN, 91);
  const State whole(start, true, true, true), pieces(start, true, true, true), other(start, true, true, true);
  for (int step = 1; step <= 3; ++step) {
    whole.give_gradient(step), pieces.give_gradient(step), other.give_gradient(step);
    adamw_packed(stream(), whole.packed(), kN, args_of(step), 0, static_cast<std::uint64_t>(step));
    adamw_packed(stream(), other.packed(), kN, args_of(step), 0, static_cast<std::uint64_t>(step) + 100);
    PackedAdamW a = pieces.packed(), b = a;
    constexpr i64 kCut = 1024;
    b.live += kCut, b.rest += kCut, b.exp_avg8 += kCut, b.exp_avg_sq8 += kCut, b.gradient16 += kCut;
    b.exp_avg_scale += kCut / 256, b.exp_avg_sq_scale += kCut / 256;
    adamw_packed(stream(), a, kCut, args_of(step), 0, static_cast<std::uint64_t>(step));
    adamw_packed(stream(), b, kN - kCut, args_of(step), kCut, static_cast<std::uint64_t>(step));
  }
  CHECK(same_bits(whole.m8.get(), pieces.m8.get()));
  CHECK(same_bits(whole.v8.get(), pieces.v8.get()));
  CHECK(same_bits(whole.vs.get(), pieces.vs.get()));
  CHECK(same_bits(whole.masters(), pieces.masters()));
  CHECK_FALSE(same_bits(whole.m8.get(), other.m8.get()));
}

TEST_CASE("all tensors in one launch: the bits of a launch for each, decay where it is asked for, padding untouched") {
  R1_NEEDS_GPU();
  // Tensors of 1 to 3,000 elements with gaps between them, on multiples of 64 as an arena has them.
  const std::vector<i64> sizes = {300, 1, 256, 64, 3000, 255, 512};
  std::vector<PackedTensor> tensors;
  i64 at = 0, blocks = 0, scales = 0;
  for (const i64 n : sizes) {
    tensors.push_back({at, n, at / 256 + static_cast<i64>(tensors.size()), blocks, n != 64});
    blocks += blocks_of(n), scales = tensors.back().scale + blocks_of(n);
    at += (n + 127) / 64 * 64;
  }
  const auto start = floats(at, 95);
  for (const bool split : {false, true})
    for (const bool half : {false, true}) {
      CAPTURE(split);
      CAPTURE(half);
      State one(start, split, true, half), each(start, split, true, half);
      const Array<std::uint8_t> one_ms(std::vector<std::uint8_t>(size(scales))), one_vs(std::vector<std::uint8_t>(size(scales))),
          each_ms(std::vector<std::uint8_t>(size(scales))), each_vs(std::vector<std::uint8_t>(size(scales)));
      const Array<PackedTensor> table(tensors);
      for (int step = 1; step <= 3; ++step) {
        one.give_gradient(step), each.give_gradient(step);
        PackedAdamW all = one.packed();
        all.exp_avg_scale = one_ms, all.exp_avg_sq_scale = one_vs;
        adamw_packed(stream(), all, table, static_cast<i64>(tensors.size()), blocks, args_of(step), static_cast<std::uint64_t>(step));
        for (const PackedTensor& t : tensors) {
          PackedAdamW a = each.packed();
          a.live += t.first, a.exp_avg8 += t.first, a.exp_avg_sq8 += t.first;
          if (split) a.rest += t.first;
          else a.master += t.first;
          if (half) a.gradient16 += t.first;
          else a.gradient += t.first;
          a.exp_avg_scale = each_ms.ptr() + t.scale, a.exp_avg_sq_scale = each_vs.ptr() + t.scale;
          AdamWArgs args = args_of(step);
          if (!t.decays) args.weight_decay = 0.f;
          adamw_packed(stream(), a, t.n, args, static_cast<std::uint64_t>(t.first), static_cast<std::uint64_t>(step));
        }
      }
      CHECK(same_bits(one.masters(), each.masters()));
      CHECK(same_bits(one.live.get(), each.live.get()));
      CHECK(same_bits(one.m8.get(), each.m8.get()));
      CHECK(same_bits(one.v8.get(), each.v8.get()));
      CHECK(same_bits(one_ms.get(), each_ms.get()));
      CHECK(same_bits(one_vs.get(), each_vs.get()));
      const auto master = one.masters();
      i64 moved = 0;
      for (i64 i = tensors[0].n; i < tensors[1].first; ++i)
        moved += master[size(i)] != start[size(i)] && bits_of(master[size(i)]) != splittable(bits_of(start[size(i)]));
      CHECK(moved == 0);
    }
}

TEST_CASE("a split master starts where a float32 one does") {
  R1_NEEDS_GPU();
  const auto live = bf16s(5001, 92);
  const Array<bf16> high(live);
  for (const bool spread : {false, true}) {
    const Array<std::int16_t> rest(5001);
    const Array<float> master(5001);
    rest_from_live(stream(), high, rest, 5001, spread);
    master_from_live(stream(), high, master, 5001, spread);
    const auto r = rest.get();
    const auto want = master.get();
    i64 wrong = 0, moved = 0;
    for (std::size_t i = 0; i < live.size(); ++i) {
      wrong += join_float({live[i], r[i]}) != bits_of(want[i]);
      moved += r[i] != 0;
    }
    CHECK(wrong == 0);
    CHECK((moved > 4900) == spread);
  }
}

TEST_CASE("reductions over bfloat16 gradients and split masters") {
  R1_NEEDS_GPU();
  const DeviceMemory scratch(reduce_scratch_bytes());
  const auto x = bf16s(1000003, 93);
  const i64 n = static_cast<i64>(x.size());
  double want = 0;
  for (bf16 e : x) want += value(e) * value(e);
  const Array<bf16> xd(x);
  const Array<double> sum(1);
  sum_of_squares(stream(), xd, n, sum, scratch.data());
  CHECK(sum.get()[0] == doctest::Approx(want).epsilon(1e-12));
  const Array<i64> at(1);
  const auto first = [&](std::vector<bf16> v) { return first_non_finite(stream(), Array<bf16>(v), n, at, scratch.data()), at.get()[0]; };
  auto bad = x;
  CHECK(first(bad) == -1);
  bad[700002] = 0x7FC0, bad.back() = 0xFF80;
  CHECK(first(bad) == 700002);
  // The largest float32 rounds to infinity in bfloat16 and is finite all the same.
  auto live = x;
  std::vector<std::int16_t> rest(x.size());
  const auto put = [&](std::size_t i, std::uint32_t bits) { live[i] = split_float(bits).high, rest[i] = split_float(bits).rest; };
  const auto first_split = [&] {
    first_non_finite_split(stream(), Array<bf16>(live), Array<std::int16_t>(rest), n, at, scratch.data());
    return at.get()[0];
  };
  put(5, 0x7F7FFFFFu);
  CHECK(live[5] == 0x7F80);
  CHECK(first_split() == -1);
  put(1000002, 0x7F800000u);
  CHECK(first_split() == 1000002);
  put(1030, 0x7FC00000u);
  CHECK(first_split() == 1030);
}

TEST_CASE("sums into bfloat16: vectors, rows by group, weight gradients; each is rounded once") {
  R1_NEEDS_GPU();
  const auto to = bf16s(4096, 94);
  const auto from = floats(4096, 95);
  const Array<bf16> sum(to);
  add_rounded(stream(), sum, Array<float>(from), 4096);
  const auto got = sum.get();
  i64 wrong = 0;
  for (std::size_t i = 0; i < to.size(); ++i) wrong += got[i] != bf16_of(static_cast<float>(value(to[i])) + from[i]);
  CHECK(wrong == 0);

  // Groups of rows: the float32 form's sum onto 0, then one rounding.
  constexpr i64 kD = 64;
  const Array<std::int32_t> target(std::vector<std::int32_t>{1, 3, 6}), first(std::vector<std::int32_t>{0, 2, 2, 12}),
      order(std::vector<std::int32_t>{4, 1, 0, 2, 3, 5, 6, 7, 8, 9, 10, 11});
  const auto rows = floats(12 * kD, 96);
  const Array<float> sums(std::vector<float>(8 * kD));
  const auto table = bf16s(8 * kD, 97);
  const Array<bf16> table_d(table);
  add_row_groups(stream(), sums, Array<float>(rows), kD, target, first, order, 3);
  add_row_groups(stream(), table_d, Array<float>(rows), kD, target, first, order, 3);
  const auto sums_h = sums.get();
  const auto table_h = table_d.get();
  wrong = 0;
  for (std::size_t i = 0; i < table.size(); ++i) wrong += table_h[i] != bf16_of(static_cast<float>(value(table[i])) + sums_h[i]);
  CHECK(wrong == 0);

  // A product of many rows: had parts of the sum met in bfloat16, the error would be several roundings.
  Blas blas;
  constexpr i64 kM = 5000, kOut = 96, kIn = 64;
  const auto dy = bf16s(kM * kOut, 98), x = bf16s(kM * kIn, 99);
  const auto before = bf16s(kOut * kIn, 100, 30.f);
  const Array<bf16> dw(before), dy_d(dy), x_d(x);
  blas.weight_gradient(stream(), {dy_d, kOut}, {x_d, kIn}, kM, kOut, kIn, dw.ptr(), Out::kBf16);
  const auto dw_h = dw.get();
  Worst worst;
  for (i64 o = 0; o < kOut; ++o)
    for (i64 k = 0; k < kIn; ++k) {
      double want = value(before[size(o * kIn + k)]);
      for (i64 r = 0; r < kM; ++r) want += value(dy[size(r * kOut + o)]) * value(x[size(r * kIn + k)]);
      worst.take(value(dw_h[size(o * kIn + k)]), want, 2e-3, kBf16Step * 1.001);
    }
  CHECK(worst.ratio <= 1);
}

}  // namespace r1::gpu::test
