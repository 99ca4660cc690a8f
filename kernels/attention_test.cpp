// Attention against double precision, and the bits of a row alone, in batches, in prefill chunks and in other blocks.
#include <algorithm>
#include <memory>

#include "kernels/test_support.h"

namespace r1::cpu::test {
namespace {

// KV blocks filled with NaN, at places in memory of its own order.
struct Blocks {
  std::vector<std::byte*> pointers;
  std::unique_ptr<std::byte[]> memory;
  Blocks(const AttentionShape& s, std::int64_t count, std::size_t layer_offset, bool reversed) {
    const std::size_t bytes = kv_block_bytes(s) + layer_offset + 64;
    memory = std::make_unique<std::byte[]>(bytes * static_cast<std::size_t>(count) + 64);
    std::memset(memory.get(), 0xff, bytes * static_cast<std::size_t>(count) + 64);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto place = static_cast<std::size_t>(reversed ? count - 1 - i : i);
      const auto address = reinterpret_cast<std::uintptr_t>(memory.get()) + place * (bytes / 64 * 64);
      pointers.push_back(reinterpret_cast<std::byte*>((address + 63) / 64 * 64));
    }
  }
};

AttentionShape shape_of(Type type, std::int64_t heads, std::int64_t kv_heads, std::int64_t d) {
  return {heads, kv_heads, d, 1.f / std::sqrt(static_cast<float>(d)), type};
}

// A sequence of t tokens in packed rows q | k | v.
struct Sequence {
  AttentionShape shape;
  std::int64_t t, ld;
  Array qkv;
  Sequence(const AttentionShape& s, std::int64_t tokens, std::uint64_t seed)
      : shape(s), t(tokens), ld((s.heads + 2 * s.kv_heads) * s.head_dim), qkv(random_array(s.type, tokens * ld, seed)) {}
  std::int64_t k_at() const { return shape.heads * shape.head_dim; }
  std::int64_t v_at() const { return (shape.heads + (shape.shared_values ? 0 : shape.kv_heads)) * shape.head_dim; }
};

AttentionShape windowed(AttentionShape s, std::int64_t window) {
  s.window = window;
  return s;
}
AttentionShape capped(AttentionShape s, float cap) {
  s.softcap = cap;
  return s;
}
AttentionShape shared(AttentionShape s) {
  s.shared_values = true;
  return s;
}

struct Result {
  Array out;
  std::vector<float> lse;
};

// Prefill in chunks of `chunk` rows: writes each chunk's keys, then attends.
Result run(ComputePool& pool, const Sequence& s, std::int64_t chunk, bool reversed) {
  const std::size_t offset = 128;
  Blocks blocks(s.shape, (s.t + kKvBlock - 1) / kKvBlock, offset, reversed);
  const std::int64_t width = s.shape.heads * s.shape.head_dim;
  Result r{Array(s.shape.type, s.t * width), std::vector<float>(static_cast<std::size_t>(s.t * s.shape.heads))};
  for (std::int64_t begin = 0; begin < s.t; begin += chunk) {
    const std::int64_t m = std::min(chunk, s.t - begin);
    std::vector<KvRow> rows;
    for (std::int64_t i = begin; i < begin + m; ++i) rows.push_back({blocks.pointers.data(), static_cast<std::int32_t>(i)});
    write_kv(pool, s.shape, s.qkv.at(begin * s.ld + s.k_at()), s.qkv.at(begin * s.ld + s.v_at()), m, s.ld, rows.data(), offset);
    attention(pool, s.shape, s.qkv.at(begin * s.ld), s.ld, rows.data(), m, offset, r.out.at(begin * width), width,
              r.lse.data() + begin * s.shape.heads);
  }
  return r;
}

// Worst error of one row in units of the tolerance.
double row_error(const Sequence& s, const Result& r, std::int64_t row) {
  const std::int64_t d = s.shape.head_dim, reps = s.shape.heads / s.shape.kv_heads;
  double worst = 0;
  for (std::int64_t h = 0; h < s.shape.heads; ++h) {
    std::vector<double> p(static_cast<std::size_t>(row + 1));
    double max = -INFINITY, sum = 0;
    for (std::int64_t j = 0; j <= row; ++j) {
      double dot = 0;
      for (std::int64_t i = 0; i < d; ++i) dot += s.qkv.get(row * s.ld + h * d + i) * s.qkv.get(j * s.ld + s.k_at() + h / reps * d + i);
      dot *= s.shape.scale;
      if (s.shape.softcap > 0) dot = s.shape.softcap * std::tanh(dot / s.shape.softcap);
      if (s.shape.window > 0 && j <= row - s.shape.window) dot = -INFINITY;
      p[static_cast<std::size_t>(j)] = dot;
      max = std::fmax(max, p[static_cast<std::size_t>(j)]);
    }
    for (double& x : p) sum += x = std::exp(x - max);
    const double lse = max + std::log(sum);
    worst = std::fmax(worst, std::fabs(lse - r.lse[static_cast<std::size_t>(row * s.shape.heads + h)]) / 2e-5);
    for (std::int64_t i = 0; i < d; ++i) {
      double want = 0, magnitude = 0;
      for (std::int64_t j = 0; j <= row; ++j) {
        const double v = p[static_cast<std::size_t>(j)] / sum * s.qkv.get(j * s.ld + s.v_at() + h / reps * d + i);
        want += v;
        magnitude += std::fabs(v);
      }
      const double got = r.out.get(row * s.shape.heads * d + h * d + i);
      // bf16: the weights are rounded once, then the output.
      worst = std::fmax(worst, std::fabs(got - want) / (2 * tolerance(s.shape.type, magnitude)));
    }
  }
  return worst;
}

}  // namespace

TEST_CASE("attention agrees with double precision") {
  ComputePool pool(2);
  for_each_isa_and_type([&](Type type) {
    for (const AttentionShape& shape : {shape_of(type, 9, 3, 64), shape_of(type, 2, 2, 16), shape_of(type, 7, 1, 80), shape_of(type, 4, 2, 128),
                                        windowed(shape_of(type, 4, 2, 32), 5), windowed(shape_of(type, 2, 1, 32), 40), capped(shape_of(type, 4, 2, 32), 0.4f),
                                        capped(windowed(shape_of(type, 4, 4, 64), 17), 1.5f), shared(shape_of(type, 8, 1, 48)),
                                        shared(shape_of(type, 16, 1, 576))}) {
      CAPTURE(shape.head_dim);
      CAPTURE(shape.window);
      CAPTURE(shape.softcap);
      const Sequence s(shape, 83, 11);
      const Result r = run(pool, s, 83, false);
      for (const std::int64_t row : {0, 1, 14, 15, 16, 31, 32, 63, 64, 70, 82}) {
        CAPTURE(row);
        CHECK(row_error(s, r, row) <= 1.0);
      }
    }
  });
}

TEST_CASE("a row's attention has the same bits alone, in prefill chunks of any size, in other blocks and threads") {
  ComputePool one(1), two(2);
  for_each_isa_and_type([&](Type type) {
    for (const AttentionShape& shape : {shape_of(type, 9, 3, 64), shape_of(type, 6, 6, 32), shape_of(type, 14, 2, 64), capped(windowed(shape_of(type, 4, 2, 32), 21), 1.f),
                                        shared(shape_of(type, 5, 1, 80)), shared(shape_of(type, 32, 1, 48))}) {
      const Sequence s(shape, 150, 12);
      const Result whole = run(two, s, s.t, false);
      for (const std::int64_t chunk : {1, 2, 7, 16, 50, 149}) {
        CAPTURE(chunk);
        const Result r = run(chunk % 2 ? one : two, s, chunk, true);
        CHECK(same_bits(r.out.at(0), whole.out.at(0), r.out.bytes.size()));
        CHECK(same_bits(r.lse.data(), whole.lse.data(), r.lse.size() * 4));
      }
    }
  });
}

TEST_CASE("decode rows of several sequences that share a prefix have the bits of each row alone") {
  ComputePool two(2);
  for_each_isa_and_type([&](Type type) {
    for (const AttentionShape& shape : {shape_of(type, 9, 3, 64), windowed(shape_of(type, 9, 3, 64), 20), shared(shape_of(type, 3, 1, 64))}) {
      // Each sharer has the prompt's 48 tokens and its own rest.
      const Sequence prompt(shape, 48, 20);
      Blocks prefix(shape, 3, 0, false);
      std::vector<KvRow> rows;
      for (std::int32_t i = 0; i < 48; ++i) rows.push_back({prefix.pointers.data(), i});
      write_kv(two, shape, prompt.qkv.at(prompt.k_at()), prompt.qkv.at(prompt.v_at()), 48, prompt.ld, rows.data(), 0);
      constexpr std::int64_t kSharers = 11;
      std::vector<std::unique_ptr<Blocks>> own;
      std::vector<std::vector<std::byte*>> tables;
      std::vector<KvRow> decode;
      const Sequence queries(shape, kSharers, 21);
      for (std::int64_t b = 0; b < kSharers; ++b) {
        const std::int64_t length = 1 + 5 * b;
        const Sequence rest(shape, length, 30 + static_cast<std::uint64_t>(b));
        own.push_back(std::make_unique<Blocks>(shape, 4, 0, b % 2 == 0));
        tables.push_back(prefix.pointers);
        tables.back().insert(tables.back().end(), own.back()->pointers.begin(), own.back()->pointers.end());
        std::vector<KvRow> write;
        for (std::int64_t i = 0; i < length; ++i) write.push_back({tables.back().data(), static_cast<std::int32_t>(48 + i)});
        write_kv(two, shape, rest.qkv.at(rest.k_at()), rest.qkv.at(rest.v_at()), length, rest.ld, write.data(), 0);
      }
      for (std::int64_t b = 0; b < kSharers; ++b) decode.push_back({tables[static_cast<std::size_t>(b)].data(), static_cast<std::int32_t>(48 + 5 * b)});
      const std::int64_t width = shape.heads * shape.head_dim;
      Array together(type, kSharers * width), alone(type, kSharers * width);
      attention(two, shape, queries.qkv.at(0), queries.ld, decode.data(), kSharers, 0, together.at(0), width, nullptr);
      for (std::int64_t b = 0; b < kSharers; ++b)
        attention(two, shape, queries.qkv.at(b * queries.ld), queries.ld, decode.data() + b, 1, 0, alone.at(b * width), width, nullptr);
      CHECK(same_bits(together.at(0), alone.at(0), together.bytes.size()));
      for (std::int64_t i = 0; i < together.size(); ++i) REQUIRE(std::isfinite(together.get(i)));
    }
  });
}

TEST_CASE("write_kv skips rows without blocks; attention refuses them") {
  ComputePool pool(1);
  const AttentionShape shape = shape_of(Type::kBF16, 2, 1, 16);
  const Sequence s(shape, 1, 1);
  const KvRow row{nullptr, 0};
  CHECK_NOTHROW(write_kv(pool, shape, s.qkv.at(s.k_at()), s.qkv.at(s.v_at()), 1, s.ld, &row, 0));
  Array out(Type::kBF16, 32);
  CHECK_THROWS_AS(attention(pool, shape, s.qkv.at(0), s.ld, &row, 1, 0, out.at(0), 32, nullptr), Error);
  CHECK_THROWS_AS(kv_block_bytes(shape_of(Type::kBF16, 2, 1, 24)), Error);
  CHECK_THROWS_AS(kv_block_bytes(shape_of(Type::kBF16, 2, 1, 1040)), Error);
  CHECK(kv_block_bytes(shared(shape_of(Type::kBF16, 16, 1, 576))) == 16 * 576 * 2);
}

}  // namespace r1::cpu::test
