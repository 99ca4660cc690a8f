// Products: right, and in the forward pass a row's bits do not depend on the number of rows.
#include "kernels/gpu/gemm.h"

#include "kernels/gpu/test_support.h"

namespace r1::gpu::test {
namespace {

struct Shape { i64 n, k; Out out; bool bias, add; };

}  // namespace

TEST_CASE("products agree with double precision") {
  R1_NEEDS_GPU();
  Blas blas;
  const i64 m = 37, n = 136, k = 72;
  const auto x = bf16s(m * k, 1), w = bf16s(n * k, 2), bias = bf16s(n, 3), dy = bf16s(m * n, 4);
  const auto c = floats(m * n, 5), start = floats(n * k, 6);
  const Array<bf16> dx(x), dw(w), db(bias), ddy(dy), y16(m * n), d_in(m * k);
  const Array<float> dc(c), y32(m * n), grad(start);
  blas.forward(stream(), {dx, k}, {dw, k}, m, n, k, y16.ptr(), n, Out::kBf16, db);
  blas.forward(stream(), {dx, k}, {dw, k}, m, n, k, y32.ptr(), n, Out::kF32, nullptr, dc);
  blas.input_gradient(stream(), {ddy, n}, {dw, k}, m, n, k, d_in, k);
  blas.weight_gradient(stream(), {ddy, n}, {dx, k}, m, n, k, grad);
  const auto a = y16.get(), g = d_in.get();
  const auto b = y32.get(), h = grad.get();
  Worst worst;
  for (i64 i = 0; i < m; ++i)
    for (i64 j = 0; j < n; ++j) {
      double sum = 0;
      for (i64 t = 0; t < k; ++t) sum += value(x[size(i * k + t)]) * value(w[size(j * k + t)]);
      worst.take(value(a[size(i * n + j)]), sum + value(bias[size(j)]), 1e-3, kBf16Step);
      worst.take(b[size(i * n + j)], sum + c[size(i * n + j)], 1e-4, 1e-5);
    }
  for (i64 i = 0; i < m; ++i)
    for (i64 t = 0; t < k; ++t) {
      double sum = 0;
      for (i64 j = 0; j < n; ++j) sum += value(dy[size(i * n + j)]) * value(w[size(j * k + t)]);
      worst.take(value(g[size(i * k + t)]), sum, 1e-3, kBf16Step);
    }
  for (i64 j = 0; j < n; ++j)
    for (i64 t = 0; t < k; ++t) {
      double sum = start[size(j * k + t)];
      for (i64 i = 0; i < m; ++i) sum += value(dy[size(i * n + j)]) * value(x[size(i * k + t)]);
      worst.take(h[size(j * k + t)], sum, 1e-4, 1e-5);
    }
  INFO(worst.ratio);
  CHECK(worst.ratio < 1);
}

TEST_CASE("a row of a forward product has the same bits for any number of rows") {
  R1_NEEDS_GPU();
  Blas blas;
  // q|k|v, o, gate|up, down and the head of Qwen2.5-0.5B and SmolLM2-135M, and of two larger ones.
  const std::vector<Shape> shapes = {{1152, 896, Out::kBf16, true, false},  {896, 896, Out::kF32, false, true},
                                     {9728, 896, Out::kBf16, false, false}, {896, 4864, Out::kF32, false, true},
                                     {151936, 896, Out::kF32, false, false}, {960, 576, Out::kBf16, false, false},
                                     {576, 576, Out::kF32, false, true},    {3072, 576, Out::kBf16, false, false},
                                     {576, 1536, Out::kF32, false, true},   {49152, 576, Out::kF32, false, false},
                                     {1536, 8960, Out::kF32, false, true},  {3584, 18944, Out::kF32, false, true},
                                     {512, 128, Out::kBf16, true, false},   {128, 256, Out::kF32, false, true},
                                     {503, 128, Out::kF32, false, false},   {768, 128, Out::kBf16, true, false},
                                     {128, 512, Out::kF32, false, true}};
  for (const Shape& s : shapes) {
    const i64 most = s.n > 40000 ? 1024 : 4096;
    const auto x = bf16s(most * s.k, 1);
    const Array<bf16> dx(x), dw(bf16s(s.n * s.k, 2)), db(bf16s(s.n, 3));
    const auto c = floats(s.add ? most * s.n : 1, 4);
    const i64 bytes = s.out == Out::kBf16 ? 2 : 4;
    const auto run = [&](i64 first, i64 m) {
      const Array<std::uint8_t> y(m * s.n * bytes);
      Array<float> in_place(1);
      void* to = y.ptr();
      if (s.add) copy_to_device(stream(), to, c.data() + first * s.n, size(m * s.n) * 4);
      blas.forward(stream(), {dx + first * s.k, s.k}, {dw, s.k}, m, s.n, s.k, to, s.n, s.out, s.bias ? db.ptr() : nullptr,
                   s.add ? static_cast<const float*>(to) : nullptr);
      return y.get();
    };
    const auto all = run(0, most);
    std::vector<i64> differing;
    std::vector<i64> sizes = {1, 2, 3, 4, 8, 16, 24, 32, 40, 48, 64, 80, 96, 128, 144, 160, 192, 208, 256, 288, 320, 384, 512, 700, 1000, 2048, 3000};
    if (s.n * s.k < 300000)
      for (i64 m = 1; m < 700; ++m) sizes.push_back(m);
    for (const i64 m : sizes) {
      if (m > most) continue;
      const i64 first = (most - m) / 2;
      if (!same_bits(run(first, m), 0, all, first * s.n * bytes, m * s.n * bytes)) differing.push_back(m);
    }
    std::string text;
    for (const i64 m : differing) text += std::to_string(m) + " ";
    INFO("n ", s.n, " k ", s.k, ": rows differ at m = ", text);
    CHECK(differing.empty());
  }
}

}  // namespace r1::gpu::test
