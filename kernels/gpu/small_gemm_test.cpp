// Every tile's sums have the bits of the product that the learner makes.
#include "kernels/gpu/small_gemm.h"

#include "kernels/gpu/gemm.h"
#include "kernels/gpu/test_support.h"

namespace r1::gpu::test {

TEST_CASE("small products: every tile has the bits of cuBLAS's product of many rows") {
  R1_NEEDS_GPU();
  struct Shape { i64 n, k; };
  for (const Shape shape : {Shape{1152, 896}, Shape{896, 4864}, Shape{1824, 896}, Shape{504, 128}, Shape{48, 64}}) {
    const auto [n, k] = shape;
    Blas blas;
    const i64 most = 4096, ldx = k + 8, ldw = k + 16, ldy = n + 8;
    const Array<bf16> x(bf16s(most * ldx, 1)), w(bf16s(n * ldw, 2, 0.1f)), bias(bf16s(n, 3)), want16(most * ldy), plain16(most * ldy), act(most * ldy);
    const Array<float> c(floats(most * ldy, 4)), want32(most * ldy), logits(most * ldy);
    blas.forward(stream(), {x, ldx}, {w, ldw}, most, n, k, want16.ptr(), ldy, Out::kBf16, bias);
    blas.forward(stream(), {x, ldx}, {w, ldw}, most, n, k, want32.ptr(), ldy, Out::kF32, nullptr, c);
    blas.forward(stream(), {x, ldx}, {w, ldw}, most, n, k, logits.ptr(), ldy, Out::kF32);
    blas.forward(stream(), {x, ldx}, {w, ldw}, most, n, k, plain16.ptr(), n, Out::kBf16);
    const bool halves = n % 16 == 0;
    if (halves) swiglu(stream(), plain16, most, n / 2, act);
    const auto w16 = want16.get(), a16 = act.get();
    const auto w32 = want32.get(), l32 = logits.get();
    for (int tile = 0; tile < small_gemm_tiles(); ++tile)
      for (const i64 m : {1, 5, 8, 13, 32, 50, 64, 100, 256, 500}) {
        SmallGemm p;
        p.x = x, p.w = w, p.ldx = ldx, p.ldw = ldw, p.m = m, p.n = n, p.k = k, p.ldy = ldy;
        if (!small_gemm_fits(p, tile)) continue;
        INFO("n ", n, " k ", k, " m ", m, " tile ", tile);
        const auto equal = [&](const auto& got, const auto& want, i64 width, i64 ld) {
          bool same = true;
          for (i64 i = 0; i < m; ++i) same = same && same_bits(got, i * ld, want, i * ld, width);
          return same;
        };
        const Array<bf16> y16(m * ldy);
        p.out = SmallOut::kBf16, p.y = y16.ptr(), p.bias = bias;
        small_gemm(stream(), p, tile);
        CHECK(equal(y16.get(), w16, n, ldy));
        const Array<float> y32(m * ldy), in_place(std::vector<float>(size(m * ldy), 0.f));
        p.out = SmallOut::kF32, p.y = y32.ptr(), p.bias = nullptr;
        small_gemm(stream(), p, tile);
        CHECK(equal(y32.get(), l32, n, ldy));
        copy_on_device(stream(), in_place, c, size(m * ldy) * 4);
        p.y = in_place.ptr(), p.c = in_place;
        small_gemm(stream(), p, tile);
        CHECK(equal(in_place.get(), w32, n, ldy));
        if (!halves) continue;
        const Array<bf16> y_act(m * ldy);
        p.out = SmallOut::kSwiglu, p.y = y_act.ptr(), p.c = nullptr, p.ldy = n / 2;
        small_gemm(stream(), p, tile);
        CHECK(equal(y_act.get(), a16, n / 2, n / 2));
      }
  }
}

TEST_CASE("gate, up and swiglu in one: the bits of the three, at every size of batch") {
  R1_NEEDS_GPU();
  Blas blas;
  const i64 f = 1536, k = 576, most = 1024;
  const Array<bf16> x(bf16s(most * k, 1)), w(bf16s(2 * f * k, 2, 0.1f)), gate_up(most * 2 * f), want(most * f), got(most * f);
  blas.forward(stream(), {x, k}, {w, k}, most, 2 * f, k, gate_up.ptr(), 2 * f, Out::kBf16);
  swiglu(stream(), gate_up, most, f, want);
  const auto all = want.get();
  for (const i64 m : {1, 7, 40, 64, 200, 256, 512, 700, 1024}) {
    INFO("m ", m);
    blas.forward_swiglu(stream(), {x, k}, {w, k}, m, f, k, gate_up, got);
    CHECK(same_bits(got.get(), 0, all, 0, m * f));
  }
}

}  // namespace r1::gpu::test
