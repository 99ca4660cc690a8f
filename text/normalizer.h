// The "normalizer" part of a tokenizer.json: what happens to a text before it is cut.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace r1 {

// Immutable and thread-safe. Texts are valid UTF-8.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  // Changes `text`; returns false, and leaves it as it is, where nothing changes (the common case is cheap).
  virtual bool apply(std::string_view text, std::string& out) const = 0;
  // A text that is this one's last change of the beginning; see Metaspace's prepend scheme "first".
  virtual bool may_drop_start() const { return false; }
};

// NFC, NFD, NFKC, NFKD, Lowercase, Replace, Prepend, Strip, ByteLevel, Sequence. null gives null.
// Throws DataError for another type or a missing field.
std::unique_ptr<Normalizer> make_normalizer(const nlohmann::json& config);

}  // namespace r1
