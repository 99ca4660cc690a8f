#include "text/pre_tokenizer.h"

#include "text/byte_alphabet.h"
#include "text/json_fields.h"
#include "text/unicode.h"

namespace r1 {
namespace {

struct Part {
  TextRange range;
  bool match;
};

// Joins or drops parts as the behaviour asks. Follows the rules of NormalizedString::split of the Rust crate.
void arrange(const std::vector<Part>& parts, SplitBehavior behavior, std::vector<TextRange>& out) {
  const std::size_t first = out.size();
  bool previous = false;
  switch (behavior) {
    case SplitBehavior::kIsolated:
      for (const Part& p : parts) out.push_back(p.range);
      break;
    case SplitBehavior::kRemoved:
      for (const Part& p : parts) {
        if (!p.match) out.push_back(p.range);
      }
      break;
    case SplitBehavior::kContiguous:
      for (const Part& p : parts) {
        if (p.match == previous && out.size() > first) out.back().end = p.range.end;
        else out.push_back(p.range);
        previous = p.match;
      }
      break;
    case SplitBehavior::kMergedWithPrevious:
      for (const Part& p : parts) {
        if (p.match && !previous && out.size() > first) out.back().end = p.range.end;
        else out.push_back(p.range);
        previous = p.match;
      }
      break;
    case SplitBehavior::kMergedWithNext: {
      std::vector<TextRange> backwards;
      for (auto p = parts.rbegin(); p != parts.rend(); ++p) {
        if (p->match && !previous && !backwards.empty()) backwards.back().begin = p->range.begin;
        else backwards.push_back(p->range);
        previous = p->match;
      }
      out.insert(out.end(), backwards.rbegin(), backwards.rend());
      break;
    }
  }
}

class Split final : public PreTokenizer {
 public:
  Split(std::unique_ptr<Pattern> pattern, SplitBehavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}

  void apply(Pieces& pieces) const override {
    std::vector<TextRange> cut, matches;
    std::vector<Part> parts;
    cut.reserve(pieces.ranges.size() + pieces.text.size() / 4);
    for (const TextRange& piece : pieces.ranges) {
      const std::string_view text = pieces.text.substr(piece.begin, piece.end - piece.begin);
      matches.clear();
      pattern_->find_all(text, matches);
      const std::size_t from = cut.size();
      if (behavior_ == SplitBehavior::kIsolated) {  // matches and gaps are treated alike
        std::size_t at = 0;
        for (const TextRange& m : matches) {
          if (at < m.begin) cut.push_back({at, m.begin});
          if (m.begin < m.end) cut.push_back(m);
          at = m.end;
        }
        if (at < text.size()) cut.push_back({at, text.size()});
      } else {
        parts.clear();
        std::size_t at = 0;
        for (const TextRange& m : matches) {
          if (at != m.begin) parts.push_back({{at, m.begin}, invert_});
          parts.push_back({m, !invert_});
          at = m.end;
        }
        if (at != text.size()) parts.push_back({{at, text.size()}, invert_});
        arrange(parts, behavior_, cut);
      }
      std::size_t kept = from;
      for (std::size_t i = from; i < cut.size(); ++i) {
        if (cut[i].begin < cut[i].end) cut[kept++] = {cut[i].begin + piece.begin, cut[i].end + piece.begin};
      }
      cut.resize(kept);
    }
    if (!cut.empty() && !pieces.ranges.empty() && cut[0].begin != pieces.ranges[0].begin) pieces.at_start = false;
    pieces.ranges = std::move(cut);
  }

 private:
  std::unique_ptr<Pattern> pattern_;
  SplitBehavior behavior_;
  bool invert_;
};

// Single characters of a class.
class CharPattern final : public Pattern {
 public:
  explicit CharPattern(std::uint8_t classes, bool ascii_punctuation = false)
      : classes_(classes), ascii_punctuation_(ascii_punctuation) {}
  void find_all(std::string_view text, std::vector<TextRange>& out) const override {
    const auto& tables = unicode::Tables::get();
    for (std::size_t pos = 0; pos < text.size();) {
      const std::size_t begin = pos;
      const char32_t c = unicode::next_char(text, pos);
      const std::uint8_t k = tables.classes(c);
      if ((k & classes_) || (ascii_punctuation_ && c < 128 && (k & unicode::kSymbol))) out.push_back({begin, pos});
    }
  }

 private:
  std::uint8_t classes_;
  bool ascii_punctuation_;
};

// \w+|[^\w\s]+ of Rust's regex crate.
class WordsAndSigns final : public Pattern {
 public:
  void find_all(std::string_view text, std::vector<TextRange>& out) const override {
    const auto& tables = unicode::Tables::get();
    const auto kind_at = [&](std::size_t& pos) {
      const std::uint8_t k = tables.classes(unicode::next_char(text, pos));
      return k & unicode::kWord ? 2 : k & unicode::kSpace ? 0 : 1;
    };
    for (std::size_t pos = 0; pos < text.size();) {
      const std::size_t begin = pos;
      const int kind = kind_at(pos);
      for (std::size_t next = pos; kind && next < text.size() && kind_at(next) == kind;) pos = next;
      if (kind) out.push_back({begin, pos});
    }
  }
};

// Rewrites every piece into a new text.
template <class F>
void rewrite(Pieces& pieces, F&& append_piece) {
  std::string text;
  text.reserve(pieces.text.size() * 2);
  for (TextRange& r : pieces.ranges) {
    const std::size_t begin = text.size();
    append_piece(pieces.text.substr(r.begin, r.end - r.begin), &r == pieces.ranges.data(), text);
    r = {begin, text.size()};
  }
  pieces.own = std::move(text);
  pieces.text = pieces.own;
}

class PrefixSpace final : public PreTokenizer {
 public:
  void apply(Pieces& pieces) const override {
    rewrite(pieces, [](std::string_view piece, bool, std::string& out) {
      if (!piece.starts_with(' ')) out += ' ';
      out += piece;
    });
  }
};

class ByteMap final : public PreTokenizer {
 public:
  void apply(Pieces& pieces) const override {
    rewrite(pieces, [](std::string_view piece, bool, std::string& out) { out += to_byte_alphabet(piece); });
  }
};

class Metaspace final : public PreTokenizer {
 public:
  enum class Prefix { kAlways, kFirst, kNever };
  Metaspace(std::string mark, Prefix prefix) : mark_(std::move(mark)), prefix_(prefix) {}
  void apply(Pieces& pieces) const override {
    rewrite(pieces, [&](std::string_view piece, bool first, std::string& out) {
      const bool wanted = prefix_ == Prefix::kAlways || (prefix_ == Prefix::kFirst && first && pieces.at_start);
      if (wanted && !piece.starts_with(mark_) && !piece.starts_with(' ')) out += mark_;
      for (char c : piece) {
        if (c == ' ') out += mark_;
        else out += c;
      }
    });
  }

 private:
  std::string mark_;
  Prefix prefix_;
};

SplitBehavior behavior_of(const std::string& name) {
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  throw DataError(message("split behavior \"", name, "\" is unknown"));
}

std::string one_character(const nlohmann::json& config, const char* field) {
  const auto text = json_get<std::string>(config, field);
  std::size_t pos = 0;
  if (!text.empty()) unicode::next_char(text, pos);
  if (text.empty() || pos != text.size())
    throw DataError(message("field \"", field, "\" must be one character, is \"", text, "\""));
  return text;
}

struct Step {
  std::unique_ptr<PreTokenizer> part;
  bool is_byte_map = false;
};

void append_steps(const nlohmann::json& config, std::vector<Step>& out) {
  const auto split = [&](std::unique_ptr<Pattern> pattern, SplitBehavior behavior, bool invert = false) {
    out.push_back({std::make_unique<Split>(std::move(pattern), behavior, invert)});
  };
  const std::string type = json_type(config);
  if (type == "Sequence") {
    for (const auto& part : json_field(config, "pretokenizers")) append_steps(part, out);
  } else if (type == "Split") {
    split(make_pattern(json_field(config, "pattern")), behavior_of(json_get<std::string>(config, "behavior")),
          json_get<bool>(config, "invert"));
  } else if (type == "ByteLevel") {
    if (json_get<bool>(config, "add_prefix_space")) out.push_back({std::make_unique<PrefixSpace>()});
    if (json_get<bool>(config, "use_regex", true)) split(make_regex(kGpt2Pattern), SplitBehavior::kIsolated);
    out.push_back({std::make_unique<ByteMap>(), true});
  } else if (type == "Digits") {
    split(std::make_unique<CharPattern>(unicode::kNumeric),
          json_get<bool>(config, "individual_digits") ? SplitBehavior::kIsolated : SplitBehavior::kContiguous);
  } else if (type == "Metaspace") {
    const std::string mark = one_character(config, "replacement");
    const auto scheme = json_get<std::string>(config, "prepend_scheme", "always");
    auto prefix = scheme == "always"  ? Metaspace::Prefix::kAlways
                  : scheme == "first" ? Metaspace::Prefix::kFirst
                                      : Metaspace::Prefix::kNever;
    if (scheme != "always" && scheme != "first" && scheme != "never")
      throw DataError(message("prepend_scheme \"", scheme, "\" is unknown"));
    if (!json_get<bool>(config, "add_prefix_space", true)) {
      if (config.contains("prepend_scheme") && scheme != "never")
        throw DataError("add_prefix_space does not match prepend_scheme");
      prefix = Metaspace::Prefix::kNever;
    }
    out.push_back({std::make_unique<Metaspace>(mark, prefix)});
    if (json_get<bool>(config, "split", true)) split(make_literal(mark), SplitBehavior::kMergedWithNext);
  } else if (type == "Whitespace") {
    split(std::make_unique<WordsAndSigns>(), SplitBehavior::kRemoved, true);
  } else if (type == "WhitespaceSplit") {
    split(std::make_unique<CharPattern>(unicode::kSpace), SplitBehavior::kRemoved);
  } else if (type == "Punctuation") {
    split(std::make_unique<CharPattern>(unicode::kPunctuation, true),
          behavior_of(json_get<std::string>(config, "behavior", "Isolated")));
  } else if (type == "CharDelimiterSplit" || type == "Delimiter") {
    split(make_literal(one_character(config, "delimiter")), SplitBehavior::kRemoved);
  } else {
    throw DataError(message("pre-tokenizer type \"", type,
                            "\" is not implemented (Sequence, Split, ByteLevel, Digits, Metaspace, ",
                            "Whitespace, WhitespaceSplit, Punctuation and CharDelimiterSplit are)"));
  }
}

}  // namespace

std::unique_ptr<Pattern> make_pattern(const nlohmann::json& config) {
  if (config.is_object() && config.contains("String")) return make_literal(json_get<std::string>(config, "String"));
  if (config.is_object() && config.contains("Regex")) return make_regex(json_get<std::string>(config, "Regex"));
  throw DataError(message("pattern must be {\"String\": ...} or {\"Regex\": ...}, is ", config.dump().substr(0, 60)));
}

PreTokenizerChain make_pre_tokenizer(const nlohmann::json& config, bool allow_raw_bytes) {
  std::vector<Step> steps;
  if (!config.is_null()) append_steps(config, steps);
  PreTokenizerChain chain;
  if (allow_raw_bytes && !steps.empty() && steps.back().is_byte_map) {
    chain.raw_bytes = true;
    steps.pop_back();
  }
  for (Step& s : steps) chain.steps.push_back(std::move(s.part));
  return chain;
}

}  // namespace r1
