// Bookkeeping of KV blocks: who uses which, and which full blocks of a prompt can be found again by their tokens.
// It knows block numbers only; the memory behind them belongs to the engine. Not thread-safe.
//
// Invariants (check() verifies them all):
//  1. A block is in exactly one state: used (references > 0), cached (no reference, published, in the LRU list) or
//     free (no reference, not published, in the free list).
//  2. used() + cached() + free = size().
//  3. A published block has a key, the key leads to that block, and no two blocks have the same key.
//  4. A key is (chain of the parent block, the block's own tokens), compared in full: there are no hash collisions.
//     Chain numbers are never used twice, so a key cannot outlive drop_cache().
//  5. Blocks are handed out only when free or cached; a block in use is never overwritten by this class.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "core/types.h"

namespace r1 {

using BlockId = std::int32_t;

class BlockManager {
 public:
  // Identifies the whole token sequence up to the end of a published block. kRoot = the empty sequence.
  using Chain = std::uint64_t;
  static constexpr Chain kRoot = 0;

  // `block_size`: token positions of a block.
  BlockManager(std::int32_t num_blocks, std::int32_t block_size);

  std::int32_t size() const { return static_cast<std::int32_t>(blocks_.size()); }
  std::int32_t block_size() const { return block_size_; }
  std::int32_t used() const { return used_; }
  std::int32_t peak() const { return peak_; }  // largest used() so far
  std::int32_t cached() const { return cached_; }
  std::int32_t available() const { return size() - used_; }  // free or cached: what allocate() can still give
  std::int32_t references(BlockId block) const { return blocks_[static_cast<std::size_t>(block)].references; }

  // A block with one reference and undefined contents: a free one, else the cached one that was used longest ago.
  // Precondition: available() > 0.
  BlockId allocate();
  void add_reference(BlockId block);  // of a used or cached block
  void release(BlockId block);        // the last reference: to the cache if published, else free

  struct Found {
    BlockId block = 0;
    Chain chain = kRoot;
  };
  // The block that holds `tokens` ([block_size]) behind `parent`; adds no reference.
  std::optional<Found> find(Chain parent, std::span<const TokenId> tokens) const;
  // Makes a used block findable. If an equal one is published already, that one stays and `block` remains private.
  // Returns the chain for the next block.
  Chain publish(BlockId block, Chain parent, std::span<const TokenId> tokens);
  // Forgets every published block (the weights changed); blocks in use stay with their users.
  void drop_cache();

  void check() const;  // throws Error if an invariant is broken; O(size), for tests

 private:
  static constexpr BlockId kNone = -1;
  struct Key {
    Chain parent = kRoot;
    std::vector<TokenId> tokens;
    bool operator==(const Key&) const = default;
  };
  struct KeyView {
    Chain parent;
    std::span<const TokenId> tokens;
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(const KeyView& key) const;
    std::size_t operator()(const Key& key) const { return (*this)(KeyView{key.parent, key.tokens}); }
  };
  struct Equal {
    using is_transparent = void;
    static KeyView view(const Key& key) { return {key.parent, key.tokens}; }
    static KeyView view(const KeyView& key) { return key; }
    template <class A, class B>
    bool operator()(const A& left, const B& right) const {
      const KeyView a = view(left), b = view(right);
      return a.parent == b.parent && std::equal(a.tokens.begin(), a.tokens.end(), b.tokens.begin(), b.tokens.end());
    }
  };
  using Map = std::unordered_map<Key, Found, Hash, Equal>;
  struct Block {
    std::int32_t references = 0;
    BlockId older = kNone, newer = kNone;  // neighbours in the LRU list while cached
    const Key* key = nullptr;              // in the map while published (map nodes do not move)
  };

  Block& at(BlockId block);
  void link_newest(BlockId block);
  void unlink(BlockId block);
  void count_used(int change);

  std::int32_t block_size_;
  std::vector<Block> blocks_;
  std::vector<BlockId> free_;  // a stack: the memory touched last is used first
  BlockId oldest_ = kNone, newest_ = kNone;
  std::int32_t used_ = 0, cached_ = 0, peak_ = 0;
  Map published_;
  Chain next_chain_ = 1;
};

}  // namespace r1
