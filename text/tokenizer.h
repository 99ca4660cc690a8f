// Byte-level BPE from Hugging Face tokenizer.json files, token for token equal to the Rust/Python `tokenizers`.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/types.h"

namespace r1 {

// Immutable after loading; every const function is thread-safe.
class Tokenizer {
 public:
  // `path` is a tokenizer.json or a directory that holds one (then tokenizer_config.json and special_tokens_map.json
  // are read too). Throws DataError that names the file and the field, also for a normalizer, pre-tokenizer,
  // post-processor or model that it does not implement.
  static std::shared_ptr<const Tokenizer> load(const std::filesystem::path& path);
  // The same from the text of a tokenizer.json; `name` is used in errors.
  static std::shared_ptr<const Tokenizer> from_json(std::string_view json, const std::string& name);
  virtual ~Tokenizer() = default;

  // add_special = true applies the post-processor (BOS and the like). Special tokens written in the text are
  // recognised. Invalid UTF-8 is read as U+FFFD.
  virtual std::vector<TokenId> encode(std::string_view text, bool add_special = false) const = 0;
  virtual std::string decode(const std::vector<TokenId>& ids, bool skip_special = true) const = 0;
  // The raw bytes a token stands for; added tokens give their text. Throws DataError for an id out of range.
  virtual const std::string& token_bytes(TokenId id) const = 0;
  // decode() is the plain concatenation of the tokens' bytes, repaired as UTF-8 (all byte-level BPE; not
  // SentencePiece).
  virtual bool decodes_bytewise() const { return true; }
  virtual bool is_special(TokenId id) const = 0;
  virtual std::optional<TokenId> token_id(std::string_view token) const = 0;  // added tokens and vocabulary entries
  virtual std::int32_t vocab_size() const = 0;  // largest id + 1
  virtual std::optional<TokenId> bos() const = 0;  // from tokenizer_config.json
  virtual std::optional<TokenId> eos() const = 0;
  virtual std::optional<TokenId> pad() const = 0;
  virtual const std::string& chat_template() const = 0;  // Jinja source; empty if there is none
};

// Decodes a growing token sequence without ever cutting a character: bytes of an unfinished UTF-8 sequence are held
// back until they are complete (or finish() turns them into U+FFFD).
class IncrementalDecoder {
 public:
  IncrementalDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special = true);
  std::string push(TokenId id);  // the new whole characters, may be empty
  std::string finish();          // what is held back
 private:
  std::string push_window(TokenId id, bool last);

  std::shared_ptr<const Tokenizer> tokenizer_;
  bool skip_special_;
  std::string held_;              // bytes of an unfinished character
  std::vector<TokenId> window_;   // tokenizers that do not decode bytewise: ids whose text may still change, after
  std::size_t context_ = 0;       // `context_` ids that are shown already
};

}  // namespace r1
