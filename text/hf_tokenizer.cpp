#include "text/hf_tokenizer.h"

#include "core/error.h"
#include "text/byte_alphabet.h"
#include "text/unicode.h"

namespace r1 {

std::vector<TokenId> HfTokenizer::encode(std::string_view text, bool add_special) const {
  std::string repaired;
  if (!unicode::is_valid(text)) {
    repaired = unicode::repair(text);
    text = repaired;
  }
  std::vector<TokenId> out;
  out.reserve(text.size() / 3 + 8);
  if (add_special) out = before_;
  std::vector<Section> sections;
  plain_.split(text, sections);
  for (const Section& s : sections) {
    if (s.id >= 0) {
      out.push_back(s.id);
    } else {
      encode_text(text.substr(s.range.begin, s.range.end - s.range.begin), s.range.begin == 0, out);
    }
  }
  if (add_special) out.insert(out.end(), after_.begin(), after_.end());
  return out;
}

// Normalizes, then takes out the added tokens that are looked for in normalized text.
void HfTokenizer::encode_text(std::string_view text, bool at_start, std::vector<TokenId>& out) const {
  std::string changed;
  if (normalizer_) {
    if (at_start && normalizer_->may_drop_start() && unicode::trim_left(text) > 0) at_start = false;
    if (normalizer_->apply(text, changed)) text = changed;
  }
  if (normalized_.empty()) return encode_words(text, at_start, out);
  std::vector<Section> sections;
  normalized_.split(text, sections);
  for (const Section& s : sections) {
    if (s.id >= 0) {
      out.push_back(s.id);
    } else {
      encode_words(text.substr(s.range.begin, s.range.end - s.range.begin), at_start && s.range.begin == 0, out);
    }
  }
}

void HfTokenizer::encode_words(std::string_view text, bool at_start, std::vector<TokenId>& out) const {
  if (text.empty()) return;
  Pieces pieces;
  pieces.text = text;
  pieces.ranges = {{0, text.size()}};
  pieces.at_start = at_start;
  for (const auto& step : pre_tokenizer_.steps) step->apply(pieces);
  for (const TextRange& r : pieces.ranges) bpe_->encode(pieces.text.substr(r.begin, r.end - r.begin), out);
}

// The text that the decoder sees for a token: as the file writes it, or an added token's own.
const std::string& HfTokenizer::decoded_text(TokenId id) const {
  const auto it = added_texts_.find(id);
  return it != added_texts_.end() ? it->second : written_[static_cast<std::size_t>(id)];
}

std::string HfTokenizer::decode(const std::vector<TokenId>& ids, bool skip_special) const {
  std::string bytes;
  std::vector<std::string> tokens;
  for (const TokenId id : ids) {
    // Ids without a token (models pad their vocabulary) have no text, as in the Rust crate.
    if (!known(id) || !(kinds_[static_cast<std::size_t>(id)] & kExists) || (skip_special && is_special(id))) continue;
    if (decoder_.byte_level) {
      bytes += bytes_[static_cast<std::size_t>(id)];
    } else {
      tokens.push_back(decoded_text(id));
    }
  }
  if (decoder_.byte_level) return unicode::is_valid(bytes) ? bytes : unicode::repair(bytes);
  for (const auto& step : decoder_.steps) step->apply(tokens);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0 && decoder_.join_by_space) bytes += ' ';
    bytes += tokens[i];
  }
  return unicode::is_valid(bytes) ? bytes : unicode::repair(bytes);
}

const std::string& HfTokenizer::token_bytes(TokenId id) const {
  if (!known(id))
    throw DataError(message("token id ", id, " is out of range: the tokenizer has ids 0 to ", vocab_size() - 1));
  return bytes_[static_cast<std::size_t>(id)];
}

std::optional<TokenId> HfTokenizer::token_id(std::string_view token) const {
  if (const auto it = added_ids_.find(std::string(token)); it != added_ids_.end()) return it->second;
  TokenId id = -1;
  if (!pre_tokenizer_.raw_bytes) {
    id = bpe_->find(token);
  } else if (const auto raw = unicode::is_valid(token) ? from_byte_alphabet(token) : std::nullopt) {
    id = bpe_->find(*raw);
  }
  return id >= 0 ? std::optional(id) : std::nullopt;
}

}  // namespace r1
