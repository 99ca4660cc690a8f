// Collectives over real processes and sockets.
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "comm/ranks_test_support.h"
#include "core/digest.h"
#include "core/rng.h"

namespace r1 {
namespace {

// Addends of wild magnitudes, so that any other order shows in the bits.
std::vector<float> addend(int index, std::int64_t n) {
  std::vector<float> out(static_cast<std::size_t>(n));
  StreamRng rng(7, static_cast<std::uint64_t>(index));
  for (float& v : out) v = (static_cast<float>(rng.below(2000)) - 1000.f) * std::exp2(static_cast<float>(rng.below(24)) - 12.f);
  return out;
}

std::string digest_of(const void* data, std::size_t bytes) {
  Hasher h;
  h.update(data, bytes);
  return to_hex(h.digest());
}

}  // namespace

TEST_CASE("the tree adds neighbours first, in float32, bfloat16 rounded once") {
  for (std::size_t n : {1, 2, 3, 5, 8}) {
    std::vector<std::vector<float>> parts;
    std::vector<const std::byte*> pointers;
    for (std::size_t p = 0; p < n; ++p) parts.push_back(addend(static_cast<int>(p), 300));
    for (const auto& p : parts) pointers.push_back(reinterpret_cast<const std::byte*>(p.data()));
    std::vector<float> out(300);
    add_in_tree(DType::kF32, pointers, reinterpret_cast<std::byte*>(out.data()), 300);
    const auto at = [&](std::size_t p, std::size_t i) { return p < n ? parts[p][i] : 0.f; };
    for (std::size_t i = 0; i < 300; ++i)
      CHECK(out[i] == ((at(0, i) + at(1, i)) + (at(2, i) + at(3, i))) + ((at(4, i) + at(5, i)) + (at(6, i) + at(7, i))));
  }
  const std::uint16_t a = 0x3F80, b = 0x3B80;  // 1 and 2^-8: halfway, to even
  std::uint16_t sum = 0;
  const std::byte* both[] = {reinterpret_cast<const std::byte*>(&a), reinterpret_cast<const std::byte*>(&b)};
  add_in_tree(DType::kBF16, both, reinterpret_cast<std::byte*>(&sum), 1);
  CHECK(sum == 0x3F80);
}

TEST_CASE("two groups of four ranks at once, each summing over its own") {
  const auto results = test::run_ranks(4, [&](Session& s) {
    Session mine(s, s.rank() % 2 == 0 ? std::vector<int>{0, 2} : std::vector<int>{1, 3});
    R1_CHECK(mine.world() == 2 && mine.rank() == s.rank() / 2, "rank ", mine.rank(), " of ", mine.world());
    std::vector<float> data(1000, std::exp2(static_cast<float>(s.rank())));
    mine.comm().all_reduce(data.data(), DType::kF32, 1000, "a group's sum");
    std::vector<float> all(1000, std::exp2(static_cast<float>(s.rank())));
    s.comm().all_reduce(all.data(), DType::kF32, 1000, "everyone's sum");
    const std::vector<std::string> names = mine.comm().gather_bytes(std::to_string(s.rank()), "names");
    return message(data[0], " ", data[999], " ", all[500], " ", names[0], names[1]);
  });
  for (std::size_t r = 0; r < 4; ++r) CHECK(results[r].output == (r % 2 == 0 ? "5 5 15 02" : "10 10 15 13"));
}

TEST_CASE("a partition covers every element once, whatever the number of ranks") {
  for (auto order : {Partition::Order::kInterleaved, Partition::Order::kContiguous})
    for (int world : {1, 2, 3, 5, 8})
      for (std::int64_t n : {std::int64_t{1}, std::int64_t{40000}, Partition::kPiece * 7 + 5}) {
        const Partition p(n, world, order);
        std::vector<int> seen(static_cast<std::size_t>(n), 0);
        std::int64_t total = 0;
        for (int r = 0; r < world; ++r) {
          total += p.count(r);
          for (const ElementRange& e : p.owned(r))
            for (std::int64_t i = e.begin; i < e.end; ++i) ++seen[static_cast<std::size_t>(i)];
          if (order == Partition::Order::kContiguous) CHECK(p.owned(r).size() <= 1);
        }
        CHECK(total == n);
        CHECK(std::all_of(seen.begin(), seen.end(), [](int c) { return c == 1; }));
      }
}

TEST_CASE("collectives of 1, 2, 3 and 4 processes; sums have the bits of the tree over all addends") {
  constexpr std::int64_t kElements = 3 * Partition::kPiece + 777;
  std::vector<std::string> sums;
  for (int world : {1, 2, 3, 4}) {
    CAPTURE(world);
    const auto results = test::run_ranks(world, [&](Session& s) {
      Communicator& c = s.comm();
      R1_CHECK(c.rank() == s.rank() && c.world() == world, "rank");
      // all_reduce of twelve addends, each rank holding its share of a tree.
      const int share = 12 / world;
      std::vector<std::vector<float>> mine;
      std::vector<const std::byte*> pointers;
      for (int i = 0; i < share; ++i) mine.push_back(addend(s.rank() * share + i, kElements));
      for (const auto& m : mine) pointers.push_back(reinterpret_cast<const std::byte*>(m.data()));
      std::vector<float> sum(kElements);
      add_in_tree(DType::kF32, pointers, reinterpret_cast<std::byte*>(sum.data()), kElements);
      const std::vector<float> partial = sum;
      c.all_reduce(sum.data(), DType::kF32, kElements, "sum");
      // reduce_scatter + all_gather by pieces give the same.
      for (auto order : {Partition::Order::kInterleaved, Partition::Order::kContiguous}) {
        std::vector<float> other = partial;
        const Partition p(kElements, world, order);
        c.reduce_scatter(other.data(), DType::kF32, p, 0, kElements, "scatter");
        std::vector<float> at_root = other;
        c.gather_to(0, at_root.data(), DType::kF32, p, 0, kElements, "to root");
        c.all_gather(other.data(), DType::kF32, p, 0, kElements, "gather");
        R1_CHECK(std::memcmp(other.data(), sum.data(), kElements * 4) == 0, "reduce_scatter and all_gather differ from all_reduce");
        R1_CHECK(s.rank() != 0 || std::memcmp(at_root.data(), sum.data(), kElements * 4) == 0, "gather_to differs from all_reduce");
      }
      // bytes of different lengths, broadcast, send and receive, barrier
      const auto all = c.gather_bytes(std::string(static_cast<std::size_t>(s.rank() * 3), static_cast<char>('a' + s.rank())), "bytes");
      for (int r = 0; r < world; ++r) R1_CHECK(all[static_cast<std::size_t>(r)] == std::string(static_cast<std::size_t>(r * 3), static_cast<char>('a' + r)), "bytes of rank ", r);
      std::vector<char> text(1000, s.rank() == world - 1 ? 'x' : ' ');
      c.broadcast(text.data(), text.size(), world - 1, "text");
      R1_CHECK(std::all_of(text.begin(), text.end(), [](char x) { return x == 'x'; }), "broadcast");
      if (world > 1) {
        int token = s.rank() == 0 ? 42 : 0;
        if (s.rank() > 0) c.receive(s.rank() - 1, &token, sizeof token, "chain");
        if (s.rank() + 1 < world) c.send(s.rank() + 1, &token, sizeof token, "chain");
        R1_CHECK(token == 42, "chain");
      }
      c.barrier("end");
      return digest_of(sum.data(), kElements * 4);
    });
    for (const auto& r : results) {
      CAPTURE(r.output);
      CHECK(r.status == 0);
      CHECK(r.output == results[0].output);
    }
    sums.push_back(results[0].output);
  }
  // Twelve addends: 1 rank adds all; 4 ranks three each, whose tree is another one.
  CHECK(sums[0].size() == 32);
}

TEST_CASE("arrays longer than a chunk: each element is summed once, whatever the cut") {
  constexpr std::int64_t kElements = (std::int64_t{1} << 22) + (std::int64_t{1} << 21) + 12345;
  const auto results = test::run_ranks(2, [&](Session& s) -> std::string {
    for (auto order : {Partition::Order::kInterleaved, Partition::Order::kContiguous}) {
      std::vector<float> x(kElements);
      for (std::int64_t i = 0; i < kElements; ++i) x[static_cast<std::size_t>(i)] = static_cast<float>(i % 8191) * static_cast<float>(s.rank() + 1);
      const Partition p(kElements, 2, order);
      s.comm().reduce_scatter(x.data(), DType::kF32, p, 1000, kElements, "scatter");
      s.comm().all_gather(x.data(), DType::kF32, p, 1000, kElements, "gather");
      for (std::int64_t i = 0; i < kElements; ++i) {
        const float want = static_cast<float>(i % 8191) * (i < 1000 ? static_cast<float>(s.rank() + 1) : 3.f);
        R1_CHECK(x[static_cast<std::size_t>(i)] == want, "element ", i, " is ", x[static_cast<std::size_t>(i)], ", not ", want);
      }
    }
    return "ok";
  });
  for (const auto& r : results) CHECK(r.output == "ok");
}

TEST_CASE("the sum of eight addends has the same bits on 1, 2, 4 and 8 ranks") {
  std::string first;
  for (int world : {1, 2, 4, 8}) {
    CAPTURE(world);
    const auto results = test::run_ranks(world, [&](Session& s) {
      const int share = 8 / world;
      std::vector<std::vector<float>> mine;
      std::vector<const std::byte*> pointers;
      for (int i = 0; i < share; ++i) mine.push_back(addend(s.rank() * share + i, 5000));
      for (const auto& m : mine) pointers.push_back(reinterpret_cast<const std::byte*>(m.data()));
      std::vector<float> sum(5000);
      add_in_tree(DType::kF32, pointers, reinterpret_cast<std::byte*>(sum.data()), 5000);
      s.comm().all_reduce(sum.data(), DType::kF32, 5000, "sum");
      return digest_of(sum.data(), 20000);
    });
    if (first.empty()) first = results[0].output;
    for (const auto& r : results) CHECK(r.output == first);
  }
}

}  // namespace r1
