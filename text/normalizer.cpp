#include "text/normalizer.h"

#include <vector>

#include <unicode/bytestream.h>
#include <unicode/edits.h>
#include <unicode/normalizer2.h>
#include <unicode/uniset.h>

#include "text/byte_alphabet.h"
#include "text/json_fields.h"
#include "text/pattern.h"
#include "text/pre_tokenizer.h"
#include "text/unicode.h"

namespace r1 {
namespace {

// The crate behind `tokenizers` knows Unicode 9.0; characters of later versions pass through it untouched, and they end
// a run of combining characters. ICU knows them, hence the filter. (Versions: tests/golden/tokenizer_random.py.)
class UnicodeForm final : public Normalizer {
 public:
  explicit UnicodeForm(const std::string& name) {
    UErrorCode status = U_ZERO_ERROR;
    const icu::Normalizer2* form = nullptr;
    if (name == "NFC") form = icu::Normalizer2::getNFCInstance(status);
    if (name == "NFD") form = icu::Normalizer2::getNFDInstance(status);
    if (name == "NFKC") form = icu::Normalizer2::getNFKCInstance(status);
    if (name == "NFKD") form = icu::Normalizer2::getNFKDInstance(status);
    known_ = icu::UnicodeSet(UNICODE_STRING_SIMPLE("[:age=9.0:]"), status);
    known_.freeze();
    if (U_FAILURE(status) || !form) throw DataError(message("ICU has no ", name, " data: ", u_errorName(status)));
    form_ = std::make_unique<icu::FilteredNormalizer2>(*form, known_);
  }

  bool apply(std::string_view text, std::string& out) const override {
    if (unicode::is_ascii(text)) return false;
    if (text.size() > INT32_MAX / 4)
      throw DataError(message("a text of ", text.size(), " bytes is too long to normalize"));
    const icu::StringPiece piece(text.data(), static_cast<std::int32_t>(text.size()));
    UErrorCode status = U_ZERO_ERROR;
    if (form_->isNormalizedUTF8(piece, status) && U_SUCCESS(status)) return false;
    std::string result;
    icu::StringByteSink<std::string> sink(&result);
    status = U_ZERO_ERROR;
    form_->normalizeUTF8(0, piece, sink, nullptr, status);
    if (U_FAILURE(status)) throw DataError(message("Unicode normalization failed: ", u_errorName(status)));
    out = std::move(result);
    return true;
  }

 private:
  icu::UnicodeSet known_;
  std::unique_ptr<icu::FilteredNormalizer2> form_;
};

class Lowercase final : public Normalizer {
 public:
  bool apply(std::string_view text, std::string& out) const override {
    out = unicode::lower(text);
    return true;
  }
};

class Replace final : public Normalizer {
 public:
  Replace(std::unique_ptr<Pattern> pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  bool apply(std::string_view text, std::string& out) const override {
    if (text.empty()) return false;
    std::vector<TextRange> matches;
    pattern_->find_all(text, matches);
    if (matches.empty()) return false;
    std::string result;
    std::size_t from = 0;
    for (const TextRange& m : matches) {
      result.append(text.substr(from, m.begin - from)).append(content_);
      from = m.end;
    }
    out = result.append(text.substr(from));
    return true;
  }

 private:
  std::unique_ptr<Pattern> pattern_;
  std::string content_;
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  bool apply(std::string_view text, std::string& out) const override {
    if (text.empty()) return false;
    out = prefix_ + std::string(text);
    return true;
  }

 private:
  std::string prefix_;
};

class Strip final : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  bool apply(std::string_view text, std::string& out) const override {
    const std::size_t end = right_ ? unicode::trim_right(text) : text.size();
    const std::string_view kept = text.substr(0, end);
    out = std::string(left_ ? kept.substr(unicode::trim_left(kept)) : kept);
    return true;
  }
  bool may_drop_start() const override { return left_; }

 private:
  bool left_, right_;
};

class ByteLevel final : public Normalizer {
 public:
  bool apply(std::string_view text, std::string& out) const override {
    out = to_byte_alphabet(text);
    return true;
  }
};

class Sequence final : public Normalizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<Normalizer>> parts) : parts_(std::move(parts)) {}
  bool apply(std::string_view text, std::string& out) const override {
    std::string current, next;
    bool changed = false;
    for (const auto& part : parts_) {
      if (part->apply(changed ? std::string_view(current) : text, next)) {
        current.swap(next);
        changed = true;
      }
    }
    if (changed) out = std::move(current);
    return changed;
  }
  bool may_drop_start() const override {
    for (const auto& part : parts_) {
      if (part->may_drop_start()) return true;
    }
    return false;
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

}  // namespace

std::unique_ptr<Normalizer> make_normalizer(const nlohmann::json& config) {
  if (config.is_null()) return nullptr;
  const std::string type = json_type(config);
  if (type == "NFC" || type == "NFD" || type == "NFKC" || type == "NFKD") return std::make_unique<UnicodeForm>(type);
  if (type == "Lowercase") return std::make_unique<Lowercase>();
  if (type == "Prepend") return std::make_unique<Prepend>(json_get<std::string>(config, "prepend"));
  if (type == "Strip") {
    return std::make_unique<Strip>(json_get<bool>(config, "strip_left"), json_get<bool>(config, "strip_right"));
  }
  if (type == "ByteLevel") return std::make_unique<ByteLevel>();
  if (type == "Replace")
    return std::make_unique<Replace>(make_pattern(json_field(config, "pattern")),
                                     json_get<std::string>(config, "content"));
  if (type == "Sequence") {
    std::vector<std::unique_ptr<Normalizer>> parts;
    for (const auto& part : json_field(config, "normalizers")) {
      if (auto made = make_normalizer(part)) parts.push_back(std::move(made));
    }
    if (parts.empty()) return nullptr;
    return std::make_unique<Sequence>(std::move(parts));
  }
  throw DataError(message("normalizer type \"", type,
                          "\" is not implemented (NFC, NFD, NFKC, NFKD, Lowercase, Replace, Prepend, Strip, ",
                          "ByteLevel and Sequence are)"));
}

}  // namespace r1
