#include "text/bpe.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <mutex>
#include <queue>
#include <unordered_map>

#include "core/error.h"
#include "text/byte_alphabet.h"
#include "text/unicode.h"

namespace r1 {
namespace {

constexpr std::size_t kShortWord = 48;        // symbols; above, the heap is faster
constexpr std::size_t kCachedWord = 64;       // bytes; longer words seldom come twice
constexpr std::size_t kShards = 64;
constexpr std::size_t kWordsPerShard = 2048;  // with kShards about 130,000 words, some 15 MB

std::uint64_t pair_of(TokenId left, TokenId right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 | static_cast<std::uint32_t>(right);
}

std::uint64_t mix(std::uint64_t pair) {
  pair *= 0x9E3779B97F4A7C15ull;
  return pair ^ (pair >> 29);
}

struct WordHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view s) const { return hash_bytes(s); }
};

}  // namespace

// Words that are no single token, with their ids. Full shards keep what they have: frequent words come early.
struct Bpe::Cache {
  struct Shard {
    std::mutex mutex;
    std::unordered_map<std::string, std::vector<TokenId>, WordHash, std::equal_to<>> words;
  };
  Shard& shard(std::string_view word) { return shards[hash_bytes(word) >> 7 & (kShards - 1)]; }
  std::array<Shard, kShards> shards;
};

Bpe::Bpe(BpeConfig config) : cache_(std::make_unique<Cache>()) {
  R1_CHECK(!config.raw_bytes ||
               (!config.byte_fallback && config.continuing_subword_prefix.empty() && config.end_of_word_suffix.empty()),
           "raw bytes cannot carry these options");
  std::size_t bytes = 0;
  TokenId largest = -1;
  for (const auto& [token, id] : config.vocab) bytes += token.size(), largest = std::max(largest, id);
  vocab_.reserve(config.vocab.size(), bytes);
  for (const auto& [token, id] : config.vocab) {
    if (!config.raw_bytes) {
      vocab_.set(token, id);
    } else if (auto raw = from_byte_alphabet(token)) {  // other tokens cannot come out of the byte alphabet
      vocab_.set(*raw, id);
    }
  }
  for (int b = 0; b < 256; ++b) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(b));
    const char raw = static_cast<char>(b);
    byte_id_[b] = config.raw_bytes ? vocab_.find({&raw, 1}) : vocab_.find(name);
  }
  if (config.unk_token) {
    for (const auto& [token, id] : config.vocab) {
      if (token == *config.unk_token) unk_id_ = id;
    }
  }
  whole_size_ = static_cast<std::size_t>(largest + 1);
  whole_ = std::make_unique<std::atomic<std::uint8_t>[]>(whole_size_);
  load_merges(config);
  options_ = std::move(config);
  options_.vocab = {};
  options_.merges = {};
}

Bpe::~Bpe() = default;

void Bpe::load_merges(const BpeConfig& config) {
  TokenMap written;  // the vocabulary as the file writes it, for the names in the merge list
  const TokenMap* names = &vocab_;
  if (config.raw_bytes) {
    std::size_t bytes = 0;
    for (const auto& [token, id] : config.vocab) bytes += token.size();
    written.reserve(config.vocab.size(), bytes);
    for (const auto& [token, id] : config.vocab) written.set(token, id);
    names = &written;
  }
  std::size_t slots = 16;
  while (slots * 5 < config.merges.size() * 8) slots *= 2;
  merges_.assign(slots, Merge{kNoPair, 0, 0});
  merge_mask_ = slots - 1;
  const std::size_t prefix = config.continuing_subword_prefix.size();
  std::string joined;
  for (std::size_t rank = 0; rank < config.merges.size(); ++rank) {
    const auto& [left, right] = config.merges[rank];
    joined = left;
    if (right.size() >= prefix) joined.append(right, prefix);
    const TokenId a = names->find(left), b = names->find(right), merged = names->find(joined);
    if (a < 0 || b < 0 || merged < 0) {
      const std::string& missing = a < 0 ? left : b < 0 ? right : joined;
      throw DataError(
          message("merge ", rank, " (\"", left, "\" \"", right, "\"): \"", missing, "\" is not in the vocabulary"));
    }
    const std::uint64_t key = pair_of(a, b);
    std::size_t i = mix(key) & merge_mask_;
    while (merges_[i].pair != kNoPair && merges_[i].pair != key) i = (i + 1) & merge_mask_;
    merges_[i] = {key, static_cast<std::int32_t>(rank),
                  merged};  // a repeated pair: the last one counts, as in the crate
  }
}

const Bpe::Merge* Bpe::find_merge(TokenId left, TokenId right) const {
  const std::uint64_t key = pair_of(left, right);
  for (std::size_t i = mix(key) & merge_mask_;; i = (i + 1) & merge_mask_) {
    if (merges_[i].pair == key) return &merges_[i];
    if (merges_[i].pair == kNoPair) return nullptr;
  }
}

void Bpe::first_symbols(std::string_view word, std::vector<TokenId>& out) const {
  if (!options_.raw_bytes || options_.unk_token) return character_symbols(word, out);
  for (char c : word) {
    const TokenId id = byte_id_[static_cast<unsigned char>(c)];
    if (id >= 0) out.push_back(id);
  }
}

// The rare options, on characters: those of the text, or the stand-ins of its bytes.
void Bpe::character_symbols(std::string_view word, std::vector<TokenId>& out) const {
  bool pending = false;  // an unknown token that is not written yet
  std::string symbol;
  for (std::size_t pos = 0; pos < word.size();) {
    const std::size_t begin = pos;
    if (options_.raw_bytes) {
      ++pos;
    } else {
      unicode::next_char(word, pos);
    }
    symbol.clear();
    if (begin > 0) symbol += options_.continuing_subword_prefix;
    symbol += word.substr(begin, pos - begin);
    if (pos == word.size()) symbol += options_.end_of_word_suffix;
    if (const TokenId id = vocab_.find(symbol); id >= 0) {
      if (pending) out.push_back(unk_id_), pending = false;
      out.push_back(id);
      continue;
    }
    if (options_.byte_fallback && std::all_of(symbol.begin(), symbol.end(),
                                              [&](char c) { return byte_id_[static_cast<unsigned char>(c)] >= 0; })) {
      for (char c : symbol) out.push_back(byte_id_[static_cast<unsigned char>(c)]);
      continue;  // a pending unknown token stays pending: the crate writes it behind these bytes
    }
    if (!options_.unk_token) continue;
    if (unk_id_ < 0)
      throw DataError(message("the unknown token \"", *options_.unk_token, "\" is not in the vocabulary"));
    if (pending && !options_.fuse_unk) out.push_back(unk_id_);
    pending = true;
  }
  if (pending) out.push_back(unk_id_);
}

void Bpe::merge_short(std::vector<TokenId>& symbols) const {
  std::size_t n = symbols.size();
  const Merge* pairs[kShortWord];
  for (std::size_t i = 0; i + 1 < n; ++i) pairs[i] = find_merge(symbols[i], symbols[i + 1]);
  while (n > 1) {
    std::int32_t best = kNoRank;
    std::size_t at = 0;
    for (std::size_t i = 0; i + 1 < n; ++i) {
      if (pairs[i] && pairs[i]->rank < best) best = pairs[i]->rank, at = i;
    }
    if (best == kNoRank) break;
    symbols[at] = pairs[at]->merged;
    std::copy(symbols.begin() + static_cast<std::ptrdiff_t>(at) + 2, symbols.begin() + static_cast<std::ptrdiff_t>(n),
              symbols.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    std::copy(pairs + at + 1, pairs + n - 1, pairs + at);
    --n;
    if (at > 0) pairs[at - 1] = find_merge(symbols[at - 1], symbols[at]);
    if (at + 1 < n) pairs[at] = find_merge(symbols[at], symbols[at + 1]);
  }
  symbols.resize(n);
}

void Bpe::merge_long(std::vector<TokenId>& symbols) const {
  struct Symbol {
    TokenId id;
    std::int32_t previous, next;  // -1 = none
  };
  struct Candidate {
    std::int32_t rank, at;
    TokenId merged;
    bool operator>(const Candidate& o) const { return rank != o.rank ? rank > o.rank : at > o.at; }
  };
  const auto n = static_cast<std::int32_t>(symbols.size());
  std::vector<Symbol> chain(symbols.size());
  std::vector<Candidate> start;
  for (std::int32_t i = 0; i < n; ++i)
    chain[static_cast<std::size_t>(i)] = {symbols[static_cast<std::size_t>(i)], i - 1, i + 1 < n ? i + 1 : -1};
  const auto candidate = [&](std::int32_t at, auto&& push) {
    const Symbol& s = chain[static_cast<std::size_t>(at)];
    if (s.next < 0) return;
    if (const Merge* m = find_merge(s.id, chain[static_cast<std::size_t>(s.next)].id))
      push(Candidate{m->rank, at, m->merged});
  };
  for (std::int32_t i = 0; i < n; ++i) candidate(i, [&](const Candidate& c) { start.push_back(c); });
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue(std::greater<>(), std::move(start));
  while (!queue.empty()) {
    const Candidate c = queue.top();
    queue.pop();
    Symbol& left = chain[static_cast<std::size_t>(c.at)];
    if (left.id < 0 || left.next < 0) continue;
    Symbol& right = chain[static_cast<std::size_t>(left.next)];
    const Merge* m = find_merge(left.id, right.id);
    if (!m || m->merged != c.merged) continue;  // one of the two has changed since
    left.id = c.merged;
    right.id = -1;
    left.next = right.next;
    if (left.next >= 0) chain[static_cast<std::size_t>(left.next)].previous = c.at;
    const auto push = [&](const Candidate& made) { queue.push(made); };
    if (left.previous >= 0) candidate(left.previous, push);
    candidate(c.at, push);
  }
  symbols.clear();
  for (std::int32_t i = 0; i >= 0 && n > 0; i = chain[static_cast<std::size_t>(i)].next)
    symbols.push_back(chain[static_cast<std::size_t>(i)].id);
}

bool Bpe::merges_to_itself(std::string_view word, TokenId id) const {
  auto& known = whole_[static_cast<std::size_t>(id)];
  std::uint8_t state = known.load(std::memory_order_relaxed);
  if (state == 0) {
    std::vector<TokenId> symbols;
    first_symbols(word, symbols);
    symbols.size() <= kShortWord ? merge_short(symbols) : merge_long(symbols);
    state = symbols.size() == 1 && symbols[0] == id ? 1 : 2;
    known.store(state, std::memory_order_relaxed);
  }
  return state == 1;
}

void Bpe::encode(std::string_view word, std::vector<TokenId>& out) const {
  if (const TokenId id = vocab_.find(word); id >= 0 && (options_.ignore_merges || merges_to_itself(word, id))) {
    out.push_back(id);
    return;
  }
  const bool cached = word.size() <= kCachedWord;
  if (cached) {
    Cache::Shard& shard = cache_->shard(word);
    const std::lock_guard lock(shard.mutex);
    if (const auto it = shard.words.find(word); it != shard.words.end()) {
      out.insert(out.end(), it->second.begin(), it->second.end());
      return;
    }
  }
  std::vector<TokenId> symbols;
  first_symbols(word, symbols);
  symbols.size() <= kShortWord ? merge_short(symbols) : merge_long(symbols);
  out.insert(out.end(), symbols.begin(), symbols.end());
  if (cached) {
    Cache::Shard& shard = cache_->shard(word);
    const std::lock_guard lock(shard.mutex);
    if (shard.words.size() < kWordsPerShard) shard.words.try_emplace(std::string(word), std::move(symbols));
  }
}

}  // namespace r1
