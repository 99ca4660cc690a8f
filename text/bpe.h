// Byte pair encoding of one word, by the ranks of a merge list.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/types.h"
#include "text/token_map.h"

namespace r1 {

struct BpeConfig {
  std::vector<std::pair<std::string, TokenId>> vocab;          // as written in the file
  std::vector<std::pair<std::string, std::string>> merges;     // in order of rank
  // Words are raw bytes; the vocabulary is written in the byte alphabet. Not with byte_fallback, prefix or suffix.
  bool raw_bytes = false;
  bool ignore_merges = false;  // a word in the vocabulary is taken whole
  bool byte_fallback = false;  // an unknown character becomes tokens <0xNN>
  bool fuse_unk = false;
  std::optional<std::string> unk_token;
  std::string continuing_subword_prefix, end_of_word_suffix;
};

// Immutable but for a cache; thread-safe.
class Bpe {
 public:
  // Throws DataError where a merge or the unknown token is not in the vocabulary.
  explicit Bpe(BpeConfig config);
  ~Bpe();

  // Appends the ids of a word (not empty): raw bytes, or valid UTF-8 unless raw_bytes.
  // Equal to BPE::tokenize of the Rust crate: the pair of lowest rank first, leftmost among equals.
  void encode(std::string_view word, std::vector<TokenId>& out) const;
  // The token spelled so (in the form of words), or -1.
  TokenId find(std::string_view word) const { return vocab_.find(word); }

 private:
  struct Cache;
  struct Merge {
    std::uint64_t pair;  // left id << 32 | right id; kNoPair = empty slot
    std::int32_t rank;
    TokenId merged;
  };
  static constexpr std::uint64_t kNoPair = ~std::uint64_t{0};
  static constexpr std::int32_t kNoRank = 0x7FFFFFFF;

  void load_merges(const BpeConfig& config);
  const Merge* find_merge(TokenId left, TokenId right) const;
  void first_symbols(std::string_view word, std::vector<TokenId>& out) const;
  void character_symbols(std::string_view word, std::vector<TokenId>& out) const;
  void merge_short(std::vector<TokenId>& symbols) const;  // few symbols: look at all pairs each time
  void merge_long(std::vector<TokenId>& symbols) const;   // many: a heap and linked symbols
  bool merges_to_itself(std::string_view word, TokenId id) const;

  BpeConfig options_;  // vocab and merges emptied
  TokenMap vocab_;     // keys as words are given to encode()
  std::vector<Merge> merges_;
  std::uint64_t merge_mask_ = 0;
  TokenId byte_id_[256];      // raw_bytes: the token of one byte, -1 = none (such a byte vanishes); else of <0xNN>
  TokenId unk_id_ = -1;
  // Does merging a vocabulary word's bytes give that very token? 0 = not known yet, 1 = yes, 2 = no.
  std::unique_ptr<std::atomic<std::uint8_t>[]> whole_;
  std::size_t whole_size_ = 0;
  std::unique_ptr<Cache> cache_;
};

}  // namespace r1
