#include "rollout/block_manager.h"

#include <doctest/doctest.h>

#include <map>
#include <vector>

#include "core/error.h"
#include "core/rng.h"

namespace r1 {
namespace {

using Chain = BlockManager::Chain;

TEST_CASE("blocks are counted, shared and freed") {
  BlockManager m(3, 4);
  const BlockId a = m.allocate(), b = m.allocate();
  CHECK(a != b);
  CHECK(m.used() == 2);
  m.add_reference(a);
  m.release(a);
  CHECK(m.used() == 2);
  CHECK(m.references(a) == 1);
  m.release(a);
  m.release(b);
  CHECK(m.used() == 0);
  CHECK(m.available() == 3);
  CHECK(m.peak() == 2);
  CHECK_THROWS_AS(m.release(a), Error);
  CHECK_THROWS_AS(m.add_reference(a), Error);
  m.check();
}

TEST_CASE("a full pool refuses") {
  BlockManager m(1, 4);
  m.allocate();
  CHECK(m.available() == 0);
  CHECK_THROWS_AS(m.allocate(), Error);
}

TEST_CASE("published blocks are found by their tokens and all before them") {
  BlockManager m(8, 2);
  const std::vector<TokenId> x = {1, 2}, y = {3, 4};
  const BlockId bx = m.allocate(), by = m.allocate();
  const Chain cx = m.publish(bx, BlockManager::kRoot, x);
  const Chain cy = m.publish(by, cx, y);
  CHECK(m.find(BlockManager::kRoot, x)->block == bx);
  CHECK(m.find(cx, y)->block == by);
  CHECK(m.find(cx, y)->chain == cy);
  CHECK_FALSE(m.find(BlockManager::kRoot, y));  // the same tokens after another beginning
  CHECK_FALSE(m.find(cy, y));

  SUBCASE("an equal block stays private and leads to the same chain") {
    const BlockId other = m.allocate();
    CHECK(m.publish(other, BlockManager::kRoot, x) == cx);
    CHECK(m.find(BlockManager::kRoot, x)->block == bx);
    m.release(other);
    CHECK(m.cached() == 0);
  }
  SUBCASE("an unused block stays findable until its memory is needed, oldest first") {
    m.release(by);
    m.release(bx);
    CHECK(m.cached() == 2);
    CHECK(m.available() == 8);
    for (int i = 0; i < 6; ++i) m.allocate();  // free ones go first
    CHECK(m.find(cx, y));
    CHECK(m.allocate() == by);
    CHECK_FALSE(m.find(cx, y));
    CHECK(m.find(BlockManager::kRoot, x));
    m.add_reference(bx);  // in use again: not evictable
    CHECK(m.available() == 0);
  }
  SUBCASE("dropping the cache frees unused blocks and keeps used ones private") {
    m.release(by);
    m.drop_cache();
    CHECK(m.cached() == 0);
    CHECK_FALSE(m.find(BlockManager::kRoot, x));
    CHECK(m.references(bx) == 1);
    const BlockId again = m.allocate();
    CHECK(m.publish(again, BlockManager::kRoot, x) != cx);  // a chain is never used twice
    m.release(bx);
    CHECK(m.cached() == 0);
  }
  m.check();
}

// A plain model beside the class: references by block, contents by key, checked after every operation.
TEST_CASE("random operations keep the invariants") {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    StreamRng rng(seed, 1);
    const auto size = static_cast<std::int32_t>(1 + rng.below(12));
    BlockManager m(size, 2);
    std::map<BlockId, int> references;
    std::map<BlockId, std::pair<Chain, std::vector<TokenId>>> published;  // may be evicted meanwhile while unused
    std::vector<Chain> chains = {BlockManager::kRoot};
    const auto some_used = [&]() -> BlockId {
      auto it = references.begin();
      std::advance(it, static_cast<long>(rng.below(references.size())));
      return it->first;
    };
    for (int i = 0; i < 2000; ++i) {
      switch (rng.below(8)) {
        case 0: case 1:
          if (m.available() > 0) {
            const BlockId b = m.allocate();
            REQUIRE(!references.contains(b));  // never one that is in use
            references[b] = 1;
            published.erase(b);
          } else {
            REQUIRE(static_cast<std::int32_t>(references.size()) == size);
          }
          break;
        case 2: case 3:
          if (!references.empty()) {
            const BlockId b = some_used();
            m.release(b);
            if (--references[b] == 0) references.erase(b);
          }
          break;
        case 4:
          if (!references.empty()) {
            const BlockId b = some_used();
            m.add_reference(b);
            ++references[b];
          }
          break;
        case 5:
          if (!references.empty()) {
            const BlockId b = some_used();
            if (published.contains(b)) break;
            const Chain parent = chains[rng.below(chains.size())];
            const std::vector<TokenId> tokens = {static_cast<TokenId>(rng.below(3)), static_cast<TokenId>(rng.below(3))};
            const bool known = m.find(parent, tokens).has_value();
            const Chain chain = m.publish(b, parent, tokens);
            if (!known) {
              published[b] = {parent, tokens};
              for (const Chain c : chains) REQUIRE(c != chain);
              chains.push_back(chain);
            }
          }
          break;
        case 6: {
          const Chain parent = chains[rng.below(chains.size())];
          const std::vector<TokenId> tokens = {static_cast<TokenId>(rng.below(3)), static_cast<TokenId>(rng.below(3))};
          if (const auto found = m.find(parent, tokens)) {
            REQUIRE(published.contains(found->block));
            REQUIRE(published[found->block] == std::pair(parent, tokens));
            m.add_reference(found->block);
            ++references[found->block];
          }
          break;
        }
        default:
          if (rng.below(20) == 0) {
            m.drop_cache();
            published.clear();
          }
      }
      m.check();
      REQUIRE(m.used() == static_cast<std::int32_t>(references.size()));
      for (const auto& [b, n] : references) REQUIRE(m.references(b) == n);
      for (const auto& [b, key] : published)
        if (references.contains(b)) REQUIRE(m.find(key.first, key.second)->block == b);
    }
  }
}

}  // namespace
}  // namespace r1
