// Products, packing and transposes against plain loops in double, and the bits of a row alone and in a batch.
#include "kernels/test_support.h"

namespace r1::cpu::test {
namespace {

struct Problem {
  Array a, b;
  std::int64_t m, n, k, lda;
};

Problem make(Type type, std::int64_t m, std::int64_t n, std::int64_t k, std::int64_t pad) {
  Problem p{random_array(type, m * (k + pad), 1), random_array(type, n * k, 2), m, n, k, k + pad};
  // What lies between the rows must not be touched by arithmetic.
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j = k; j < p.lda; ++j) p.a.set(i * p.lda + j, NAN);
  return p;
}

double expected(const Problem& p, std::int64_t i, std::int64_t j, double* magnitude) {
  double sum = 0, abs = 0;
  for (std::int64_t x = 0; x < p.k; ++x) {
    const double v = p.a.get(i * p.lda + x) * p.b.get(j * p.k + x);
    sum += v;
    abs += std::fabs(v);
  }
  *magnitude = abs;
  return sum;
}

PackedMatrix packed(ComputePool& pool, const Problem& p) {
  PackedMatrix out = make_packed(p.a.type, p.n, p.k);
  pack(pool, p.b.at(0), p.k, out);
  return out;
}

// Rows [row, row + m) of the product in `out_type`.
Array product(ComputePool& pool, const Problem& p, const PackedMatrix& b, std::int64_t row, std::int64_t m, Type out_type) {
  Array c(out_type, m * p.n);
  GemmArgs args;
  args.a = p.a.at(row * p.lda);
  args.m = m;
  args.lda = p.lda;
  args.b = &b;
  args.c = c.at(0);
  args.ldc = p.n;
  args.out_type = out_type;
  gemm(pool, args);
  return c;
}

}  // namespace

TEST_CASE("gemm agrees with double precision for odd shapes, types and stores") {
  ComputePool pool(2);
  for_each_isa_and_type([&](Type type) {
    struct Shape {
      std::int64_t m, n, k, pad;
    };
    for (const Shape s : {Shape{1, 1, 1, 0}, {3, 5, 7, 1}, {2, 64, 32, 0}, {7, 65, 33, 3}, {13, 130, 95, 1}, {40, 200, 129, 1}, {100, 48, 64, 2}}) {
      CAPTURE(s.m);
      CAPTURE(s.n);
      CAPTURE(s.k);
      const Problem p = make(type, s.m, s.n, s.k, s.pad);
      const PackedMatrix b = packed(pool, p);
      const Array bias = random_array(type, s.n, 3);
      for (const Type out_type : {Type::kF32, Type::kBF16}) {
        for (const bool add : {false, true}) {
          if (add && out_type == Type::kBF16) continue;
          const std::int64_t ldc = s.n + 3;
          Array c = random_array(out_type, s.m * ldc, 4);
          const Array before = c;
          GemmArgs args;
          args.a = p.a.at(0);
          args.m = s.m;
          args.lda = p.lda;
          args.b = &b;
          args.c = c.at(0);
          args.ldc = ldc;
          args.out_type = out_type;
          args.store = add ? Store::kAdd : Store::kStore;
          args.bias = add ? nullptr : bias.at(0);
          gemm(pool, args);
          double worst = 0;
          for (std::int64_t i = 0; i < s.m; ++i) {
            for (std::int64_t j = 0; j < ldc; ++j) {
              if (j >= s.n) {
                CHECK(c.get(i * ldc + j) == before.get(i * ldc + j));
                continue;
              }
              double magnitude = 0;
              double want = expected(p, i, j, &magnitude);
              want += add ? before.get(i * ldc + j) : bias.get(j);
              worst = std::fmax(worst, std::fabs(c.get(i * ldc + j) - want) / tolerance(out_type, magnitude + std::fabs(want)));
            }
          }
          CHECK(worst <= 1.0);
        }
      }
    }
  });
}

TEST_CASE("a part of B: some of its columns, some of its depth") {
  ComputePool pool(2);
  for_each_isa_and_type([&](Type type) {
    const std::int64_t m = 37, n = 200, k = 151;
    const Problem p = make(type, m, n, k, 9);
    const PackedMatrix b = packed(pool, p);
    const Array all = product(pool, p, b, 0, m, Type::kF32);
    Array columns(Type::kF32, m * 70), sums(Type::kF32, m * n);
    GemmArgs args;
    args.a = p.a.at(0), args.m = m, args.lda = p.lda, args.b = &b;
    args.n_first = 64, args.n_count = 70;
    args.c = columns.at(0), args.ldc = 70;
    gemm(pool, args);
    for (std::int64_t i = 0; i < m; ++i) CHECK(same_bits(columns.at(i * 70), all.at(i * n + 64), 70 * 4));

    args.n_first = 0, args.n_count = -1, args.c = sums.at(0), args.ldc = n;
    for (const std::int64_t first : {0, 64, 128}) {
      args.a = p.a.at(first), args.k_first = first, args.k_count = first == 128 ? -1 : 64;
      args.store = first == 0 ? Store::kStore : Store::kAdd;
      gemm(pool, args);
    }
    double worst = 0;
    for (std::int64_t i = 0; i < m * n; ++i) {
      double magnitude = 0;
      const double want = expected(p, i / n, i % n, &magnitude);
      worst = std::fmax(worst, std::fabs(sums.get(i) - want) / tolerance(Type::kF32, magnitude));
    }
    CHECK(worst <= 1.0);
    args.k_first = 16;
    CHECK_THROWS(gemm(pool, args));
    args.k_first = 0, args.k_count = 40;
    CHECK_THROWS(gemm(pool, args));
    args.k_count = -1, args.n_first = 192, args.n_count = 9;
    CHECK_THROWS(gemm(pool, args));
  });
}

TEST_CASE("products of many rows and long sums: zero padded rows are read in place, memory is used again by another shape") {
  ComputePool pool(2);
  for_each_isa_and_type([&](Type type) {
    PackedMatrix b;
    // 700: rows in more than one group, the last of them short; 1153: several slices of k; odd and even numbers of lines apart.
    for (const std::int64_t k : {1153, 95, 320}) {
      for (const std::int64_t extra : {0, 32}) {
        CAPTURE(k);
        const std::int64_t m = type == Type::kF32 ? 70 : 700, n = 40, lda = padded_depth(k) + extra;
        Problem p = make(type, m, n, k, lda - k);
        for (std::int64_t i = 0; i < m; ++i)
          for (std::int64_t j = k; j < lda; ++j) p.a.set(i * lda + j, 0);
        reshape(b, type, n, k);
        pack(pool, p.b.at(0), k, b);
        Array c(Type::kF32, m * n), alone(Type::kF32, n);
        GemmArgs args;
        args.a = p.a.at(0);
        args.m = m;
        args.lda = lda;
        args.a_padded = true;
        args.b = &b;
        args.c = c.at(0);
        args.ldc = n;
        gemm(pool, args);
        double worst = 0;
        for (std::int64_t i : {std::int64_t{0}, m / 2, m - 1}) {
          for (std::int64_t j = 0; j < n; ++j) {
            double magnitude = 0;
            const double want = expected(p, i, j, &magnitude);
            worst = std::fmax(worst, std::fabs(c.get(i * n + j) - want) / tolerance(Type::kF32, magnitude));
          }
          args.a = p.a.at(i * lda);
          args.m = 1;
          args.c = alone.at(0);
          args.a_padded = false;
          gemm(pool, args);
          CHECK(same_bits(alone.at(0), c.at(i * n), static_cast<std::size_t>(n) * 4));
        }
        CHECK(worst <= 1.0);
      }
    }
    GemmArgs tight;
    const Problem p = make(type, 2, 40, 320, 0);
    Array c(Type::kF32, 80);
    reshape(b, type, 40, 310);
    tight.a = p.a.at(0), tight.m = 2, tight.lda = 310, tight.a_padded = true, tight.b = &b, tight.c = c.at(0), tight.ldc = 40;
    CHECK_THROWS(gemm(pool, tight));
  });
}

TEST_CASE("a row of a product has the same bits alone, in every batch size, and with any number of threads") {
  ComputePool one(1), two(2);
  for_each_isa_and_type([&](Type type) {
    for (const std::int64_t k : {63, 128}) {
      const Problem p = make(type, 130, 150, k, k % 2);
      const PackedMatrix b = packed(one, p);
      const Array all = product(two, p, b, 0, p.m, Type::kF32);
      const std::size_t row_bytes = static_cast<std::size_t>(p.n) * 4;
      bool same = true;
      for (std::int64_t m = 1; m <= p.m; ++m) {
        const Array part = product(m % 2 ? one : two, p, b, p.m - m, m, Type::kF32);
        same = same && same_bits(part.at(0), all.at((p.m - m) * p.n), row_bytes * static_cast<std::size_t>(m));
      }
      CHECK(same);
      for (std::int64_t i = 0; i < p.m; ++i) same = same && same_bits(product(one, p, b, i, 1, Type::kF32).at(0), all.at(i * p.n), row_bytes);
      CHECK(same);
    }
  });
}

TEST_CASE("pack_transposed gives the same packed bytes as pack of the transpose") {
  ComputePool pool(2);
  for_each_isa_and_type([&](Type type) {
    for (const std::int64_t n : {1, 63, 64, 150}) {
      for (const std::int64_t k : {1, 31, 32, 77}) {
        const Array b = random_array(type, n * k, 5);
        Array t(type, n * k);
        transpose(pool, b.at(0), n, k, k, t.at(0), n, type);
        bool right = true;
        for (std::int64_t i = 0; i < n; ++i)
          for (std::int64_t j = 0; j < k; ++j) right = right && t.get(j * n + i) == b.get(i * k + j);
        CHECK(right);
        PackedMatrix x = make_packed(type, n, k), y = make_packed(type, n, k);
        std::memset(const_cast<void*>(x.data()), 0xff, x.bytes());  // padding must be written, not inherited
        std::memset(const_cast<void*>(y.data()), 0xff, y.bytes());
        pack(pool, b.at(0), k, x);
        pack_transposed(pool, t.at(0), n, y);
        CHECK(same_bits(x.data(), y.data(), x.bytes()));
      }
    }
  });
}

TEST_CASE("large products split over rows and panels agree with each other") {
  ComputePool one(1), two(2);
  for_each_isa_and_type([&](Type type) {
    const Problem p = make(type, 300, 192, 96, 0);
    const PackedMatrix b = packed(two, p);
    const Array x = product(one, p, b, 0, p.m, Type::kBF16), y = product(two, p, b, 0, p.m, Type::kBF16);
    CHECK(same_bits(x.at(0), y.at(0), x.bytes.size()));
  });
}

TEST_CASE("sums long enough to be cut into slices have the bits of the row alone, and the right value") {
  ComputePool two(2);
  for_each_isa_and_type([&](Type type) {
    const Problem p = make(type, 41, 70, 40001, 1);
    const PackedMatrix b = packed(two, p);
    const Array all = product(two, p, b, 0, p.m, Type::kF32);
    for (const std::int64_t i : {0, 40}) {
      CHECK(same_bits(product(two, p, b, i, 1, Type::kF32).at(0), all.at(i * p.n), static_cast<std::size_t>(p.n) * 4));
      for (const std::int64_t j : {0, 63, 69}) {
        double magnitude = 0;
        const double want = expected(p, i, j, &magnitude);
        CHECK(std::fabs(all.get(i * p.n + j) - want) < 1e-5 * magnitude);
      }
    }
  });
}

TEST_CASE("gemm refuses a matrix packed for another instruction set and a bf16 sum") {
  ComputePool pool(1);
  const Problem p = make(Type::kBF16, 2, 8, 8, 0);
  set_isa(Isa::kPortable);
  const PackedMatrix b = packed(pool, p);
  Array c(Type::kBF16, 16);
  GemmArgs args;
  args.a = p.a.at(0);
  args.m = 2;
  args.lda = 8;
  args.b = &b;
  args.c = c.at(0);
  args.ldc = 8;
  args.out_type = Type::kBF16;
  args.store = Store::kAdd;
  CHECK_THROWS_AS(gemm(pool, args), Error);
  args.store = Store::kStore;
  CHECK_NOTHROW(gemm(pool, args));
  if (best_isa() != Isa::kPortable) {
    set_isa(best_isa());
    CHECK_THROWS_AS(gemm(pool, args), Error);
  }
  set_isa(best_isa());
}

}  // namespace r1::cpu::test
