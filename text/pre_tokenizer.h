// The "pre_tokenizer" part of a tokenizer.json: cuts a normalized text into the words that BPE works on.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "text/pattern.h"

namespace r1 {

// A text and the pieces it is cut into: non-empty, in order; parts between them are dropped.
struct Pieces {
  std::string_view text;           // what the ranges count in; `own`, or the caller's text
  std::vector<TextRange> ranges;
  std::string own;                 // holds `text` once a step has rewritten it
  bool at_start = false;           // the first piece begins where the whole input begins
};

// Immutable and thread-safe.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void apply(Pieces& pieces) const = 0;
};

// Matches and the gaps between them, as one of the behaviours asks: Isolated, Removed, Contiguous, MergedWithPrevious,
// MergedWithNext. `invert` swaps matches and gaps.
enum class SplitBehavior { kIsolated, kRemoved, kContiguous, kMergedWithPrevious, kMergedWithNext };

struct PreTokenizerChain {
  std::vector<std::unique_ptr<PreTokenizer>> steps;
  // The last step was ByteLevel: its mapping of bytes to characters is left out, and BPE takes the pieces' raw bytes.
  bool raw_bytes = false;
};

// Sequence, Split, ByteLevel, Digits, Metaspace, Whitespace, WhitespaceSplit, Punctuation, CharDelimiterSplit.
// Throws DataError for another type or a missing field. `config` may be null. `allow_raw_bytes`: see PreTokenizerChain.
PreTokenizerChain make_pre_tokenizer(const nlohmann::json& config, bool allow_raw_bytes);

// {"String": ...} or {"Regex": ...}
std::unique_ptr<Pattern> make_pattern(const nlohmann::json& config);

}  // namespace r1
