// The one implementation of Tokenizer: the parts of a tokenizer.json put together.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer.h"

namespace r1 {

class HfTokenizer final : public Tokenizer {
 public:
  // What tokenizer_config.json and its neighbours say; filled in by Tokenizer::load.
  struct Settings {
    std::string bos, eos, pad;  // token texts; empty = not named
    std::string chat_template;
  };
  HfTokenizer(std::string_view json, const Settings& settings);

  std::vector<TokenId> encode(std::string_view text, bool add_special) const override;
  std::string decode(const std::vector<TokenId>& ids, bool skip_special) const override;
  const std::string& token_bytes(TokenId id) const override;
  bool decodes_bytewise() const override { return decoder_.byte_level; }
  bool is_special(TokenId id) const override { return known(id) && kinds_[static_cast<std::size_t>(id)] & kSpecial; }
  std::optional<TokenId> token_id(std::string_view token) const override;
  std::int32_t vocab_size() const override { return static_cast<std::int32_t>(kinds_.size()); }
  std::optional<TokenId> bos() const override { return bos_; }
  std::optional<TokenId> eos() const override { return eos_; }
  std::optional<TokenId> pad() const override { return pad_; }
  const std::string& chat_template() const override { return chat_template_; }

 private:
  enum Kind : std::uint8_t { kExists = 1, kSpecial = 2 };
  using Vocabulary = std::vector<std::pair<std::string, TokenId>>;

  bool known(TokenId id) const { return id >= 0 && static_cast<std::size_t>(id) < kinds_.size(); }
  void load_added_tokens(const nlohmann::json& list, const Vocabulary& vocab);
  void load_token_bytes(const Vocabulary& vocab);
  void load_post_processor(const nlohmann::json& config);
  void encode_text(std::string_view text, bool at_start, std::vector<TokenId>& out) const;
  void encode_words(std::string_view text, bool at_start, std::vector<TokenId>& out) const;
  const std::string& decoded_text(TokenId id) const;

  std::unique_ptr<Normalizer> normalizer_;
  PreTokenizerChain pre_tokenizer_;
  std::unique_ptr<Bpe> bpe_;
  DecoderChain decoder_;
  AddedTokenMatcher plain_, normalized_;  // added tokens looked for before and after normalization
  std::vector<AddedToken> added_;
  std::unordered_map<std::string, TokenId> added_ids_;
  std::unordered_map<TokenId, std::string> added_texts_;  // what decode() reads for an added token
  std::vector<std::string> bytes_;                        // by id
  std::vector<std::string> written_;                      // by id, as in the file; only where decoding is not bytewise
  std::vector<std::uint8_t> kinds_;                       // by id
  std::vector<TokenId> before_, after_;                   // the post-processor's special tokens
  std::optional<TokenId> bos_, eos_, pad_;
  std::string chat_template_;
};

}  // namespace r1
