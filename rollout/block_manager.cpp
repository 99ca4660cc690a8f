#include "rollout/block_manager.h"

#include <algorithm>

#include "core/error.h"
#include "core/rng.h"

namespace r1 {

std::size_t BlockManager::Hash::operator()(const KeyView& key) const {
  std::uint64_t h = mix64(key.parent + 0x9E3779B97F4A7C15ull);
  for (const TokenId token : key.tokens) h = mix64(h ^ static_cast<std::uint32_t>(token)) + 0x9E3779B97F4A7C15ull;
  return static_cast<std::size_t>(h);
}

BlockManager::BlockManager(std::int32_t num_blocks, std::int32_t block_size)
    : block_size_(block_size), blocks_(static_cast<std::size_t>(num_blocks)) {
  R1_CHECK(num_blocks > 0 && block_size > 0, num_blocks, " KV blocks of ", block_size, " positions");
  free_.reserve(blocks_.size());
  for (BlockId b = num_blocks; b-- > 0;) free_.push_back(b);  // block 0 is handed out first
}

BlockManager::Block& BlockManager::at(BlockId block) {
  R1_CHECK(block >= 0 && block < size(), "KV block ", block, " of ", size());
  return blocks_[static_cast<std::size_t>(block)];
}

void BlockManager::count_used(int change) {
  used_ += change;
  peak_ = std::max(peak_, used_);
}

void BlockManager::link_newest(BlockId block) {
  Block& b = at(block);
  b.older = newest_;
  b.newer = kNone;
  if (newest_ != kNone) at(newest_).newer = block;
  newest_ = block;
  if (oldest_ == kNone) oldest_ = block;
  ++cached_;
}

void BlockManager::unlink(BlockId block) {
  Block& b = at(block);
  (b.older != kNone ? at(b.older).newer : oldest_) = b.newer;
  (b.newer != kNone ? at(b.newer).older : newest_) = b.older;
  b.older = b.newer = kNone;
  --cached_;
}

BlockId BlockManager::allocate() {
  BlockId block = kNone;
  if (!free_.empty()) {
    block = free_.back();
    free_.pop_back();
  } else {
    R1_CHECK(oldest_ != kNone, "no KV block left of ", size());
    block = oldest_;
    unlink(block);
    published_.erase(*at(block).key);
    at(block).key = nullptr;
  }
  at(block).references = 1;
  count_used(1);
  return block;
}

void BlockManager::add_reference(BlockId block) {
  Block& b = at(block);
  if (b.references == 0) {
    R1_CHECK(b.key != nullptr, "KV block ", block, " is free");
    unlink(block);
    count_used(1);
  }
  ++b.references;
}

void BlockManager::release(BlockId block) {
  Block& b = at(block);
  R1_CHECK(b.references > 0, "KV block ", block, " released once too often");
  if (--b.references > 0) return;
  count_used(-1);
  if (b.key != nullptr) link_newest(block);
  else free_.push_back(block);
}

std::optional<BlockManager::Found> BlockManager::find(Chain parent, std::span<const TokenId> tokens) const {
  const auto it = published_.find(KeyView{parent, tokens});
  if (it == published_.end()) return std::nullopt;
  return it->second;
}

BlockManager::Chain BlockManager::publish(BlockId block, Chain parent, std::span<const TokenId> tokens) {
  Block& b = at(block);
  R1_CHECK(b.references > 0 && b.key == nullptr, "KV block ", block, " cannot be published");
  R1_CHECK(static_cast<std::int32_t>(tokens.size()) == block_size_, tokens.size(), " tokens for a block of ", block_size_);
  const auto [it, inserted] = published_.try_emplace(Key{parent, {tokens.begin(), tokens.end()}}, Found{block, next_chain_});
  if (inserted) {
    ++next_chain_;
    b.key = &it->first;
  }
  return it->second.chain;
}

void BlockManager::drop_cache() {
  while (oldest_ != kNone) {
    const BlockId block = oldest_;
    unlink(block);
    free_.push_back(block);
  }
  for (Block& b : blocks_) b.key = nullptr;
  published_.clear();
}

void BlockManager::check() const {
  std::vector<int> seen(blocks_.size(), 0);
  std::int32_t used = 0, cached = 0, published = 0;
  for (const Block& b : blocks_) {
    used += b.references > 0 ? 1 : 0;
    published += b.key != nullptr ? 1 : 0;
    R1_CHECK(b.references >= 0, "negative references");
  }
  for (const BlockId f : free_) {
    const Block& b = blocks_[static_cast<std::size_t>(f)];
    R1_CHECK(b.references == 0 && b.key == nullptr, "block ", f, " is in the free list and in use or published");
    ++seen[static_cast<std::size_t>(f)];
  }
  BlockId older = kNone;
  for (BlockId c = oldest_; c != kNone; c = blocks_[static_cast<std::size_t>(c)].newer) {
    const Block& b = blocks_[static_cast<std::size_t>(c)];
    R1_CHECK(b.references == 0 && b.key != nullptr && b.older == older, "block ", c, " is wrong in the LRU list");
    ++seen[static_cast<std::size_t>(c)];
    ++cached;
    R1_CHECK(cached <= size(), "the LRU list is a ring");
    older = c;
  }
  R1_CHECK(older == newest_, "the LRU list ends at ", older, ", not at ", newest_);
  for (std::size_t i = 0; i < blocks_.size(); ++i)
    R1_CHECK(seen[i] == (blocks_[i].references > 0 ? 0 : 1), "block ", i, " is in ", seen[i], " lists");
  R1_CHECK(used == used_ && cached == cached_ && peak_ >= used_, "wrong counts");
  R1_CHECK(published == static_cast<std::int32_t>(published_.size()), published, " published blocks, ", published_.size(), " keys");
  for (const auto& [key, found] : published_)
    R1_CHECK(blocks_[static_cast<std::size_t>(found.block)].key == &key && found.chain < next_chain_, "a key leads to a wrong block");
}

}  // namespace r1
