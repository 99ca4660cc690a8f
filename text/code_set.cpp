#include "text/code_set.h"

#include <algorithm>
#include <cstdio>
#include <string_view>

#include "core/error.h"
#include "text/pcre2_categories.h"
#include "text/unicode.h"

namespace r1 {
namespace {

constexpr const char* kCategoryNames[] = {"Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd",
                                          "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm",
                                          "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Co", "Cs"};

CodeSet of(std::span<const CodeSet::Range> ranges) { return CodeSet({ranges.begin(), ranges.end()}); }

}  // namespace

CodeSet::CodeSet(std::vector<Range> ranges) : ranges_(std::move(ranges)) { normalize(); }

CodeSet CodeSet::where(const std::function<bool(char32_t)>& holds) {
  CodeSet set;
  for (std::uint32_t c = 0; c < 0x110000; ++c) {
    if ((c >= 0xD800 && c < 0xE000) || !holds(c)) continue;
    if (!set.ranges_.empty() && set.ranges_.back().last + 1 == c) {
      set.ranges_.back().last = c;
    } else {
      set.ranges_.push_back({c, c});
    }
  }
  return set;
}

CodeSet CodeSet::property(std::string name) {
  // Oniguruma compares names without case, spaces, '-' and '_'.
  std::string key;
  for (char c : name) {
    if (c != ' ' && c != '-' && c != '_') key += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  }
  const auto& t = unicode::Tables::get();
  const std::pair<std::string_view, char> long_names[] = {{"letter", 'L'}, {"number", 'N'}, {"punctuation", 'P'},
                                                          {"mark", 'M'},   {"symbol", 'S'}, {"separator", 'Z'},
                                                          {"other", 'C'}};
  for (const auto& [text, group] : long_names) {
    if (key == text) key = std::string(1, static_cast<char>(group + 32));
  }
  if (key.size() == 1 || key.size() == 2) {
    bool known = false;
    bool members[30] = {};
    for (int k = 0; k < 30; ++k) {
      std::string category = kCategoryNames[k];
      category[0] = static_cast<char>(category[0] + 32);
      members[k] = key.size() == 1 ? category[0] == key[0] : category == key;
      known |= members[k];
    }
    if (known) return where([&](char32_t c) { return members[t.category(c)]; });
  }
  if (key == "han") return of(unicode_tables::kScriptHan);
  if (key == "hiragana") return of(unicode_tables::kScriptHiragana);
  if (key == "katakana") return of(unicode_tables::kScriptKatakana);
  if (key == "hangul") return of(unicode_tables::kScriptHangul);
  if (key == "any") return CodeSet({{0, 0x10FFFF}});
  if (key == "ascii") return CodeSet({{0, 0x7F}});
  if (key == "space" || key == "whitespace") return white_space();
  if (key == "digit") return property("Nd");
  throw DataError(message("regex property \\p{", name,
                          "} is not implemented (general categories, Han, Hiragana, Katakana, Hangul are)"));
}

CodeSet CodeSet::white_space() { return of(unicode_tables::kWhiteSpace); }

CodeSet CodeSet::word() {
  const auto& t = unicode::Tables::get();
  CodeSet set = where([&](char32_t c) { return (t.classes(c) & unicode::kWord) && c != 0x200C && c != 0x200D; });
  set.add(of(unicode_tables::kWordNoOnig));
  return set;
}

void CodeSet::add(const CodeSet& other) {
  ranges_.insert(ranges_.end(), other.ranges_.begin(), other.ranges_.end());
  normalize();
}

void CodeSet::normalize() {
  std::sort(ranges_.begin(), ranges_.end(), [](const Range& a, const Range& b) { return a.first < b.first; });
  std::vector<Range> merged;
  for (const Range& r : ranges_) {
    if (!merged.empty() && r.first <= merged.back().last + 1) {
      merged.back().last = std::max(merged.back().last, r.last);
    } else {
      merged.push_back(r);
    }
  }
  ranges_ = std::move(merged);
}

CodeSet CodeSet::complement() const {
  CodeSet out;
  std::uint32_t next = 0;
  for (const Range& r : ranges_) {
    if (r.first > next) out.ranges_.push_back({next, r.first - 1});
    next = r.last + 1;
  }
  if (next <= 0x10FFFF) out.ranges_.push_back({next, 0x10FFFF});
  return out;
}

CodeSet CodeSet::intersect(const CodeSet& other) const {
  CodeSet either = complement();
  either.add(other.complement());
  return either.complement();
}

std::size_t CodeSet::count() const {
  std::size_t n = 0;
  for (const Range& r : ranges_) n += r.last - r.first + 1;
  return n;
}

std::string CodeSet::ranges_text() const {
  std::string out;
  char text[40];
  const auto put = [&](std::uint32_t first, std::uint32_t last) {
    std::snprintf(text, sizeof text, first == last ? "\\x{%x}" : "\\x{%x}-\\x{%x}", first, last);
    out += text;
  };
  for (const Range& r : ranges_) {  // PCRE2 refuses surrogates inside a class
    if (r.first < 0xD800) put(r.first, std::min<std::uint32_t>(r.last, 0xD7FF));
    if (r.last > 0xDFFF) put(std::max<std::uint32_t>(r.first, 0xE000), r.last);
  }
  return out;
}

std::string CodeSet::to_pcre2(bool caseless) const {
  constexpr std::size_t kFewRanges = 40;
  if (ranges_.size() <= kFewRanges || caseless) {
    const std::string text = ranges_text();
    return text.empty() ? "(?!)" : "[" + text + "]";
  }
  // Long lists of ranges are slow and soon too large for PCRE2: take the categories that are mostly inside, and then
  // correct them.
  std::string categories;
  CodeSet covered;
  const auto& sets = pcre2_categories();
  for (std::size_t k = 0; k < sets.size(); ++k) {
    if (sets[k].empty() || intersect(sets[k]).count() * 2 <= sets[k].count()) continue;
    categories += std::string("\\p{") + kCategoryNames[k] + "}";
    covered.add(sets[k]);
  }
  const CodeSet surrogates({{0xD800, 0xDFFF}});
  const CodeSet extra = intersect(covered.complement());
  CodeSet outside = complement().intersect(covered).intersect(surrogates.complement());
  const std::string cut = outside.empty() ? "" : "(?![" + outside.ranges_text() + "])";
  return "(?:" + cut + "[" + categories + extra.ranges_text() + "])";
}

}  // namespace r1
