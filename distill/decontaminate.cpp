#include "distill/decontaminate.h"

#include <algorithm>

#include <nlohmann/json.hpp>
#include <unicode/uchar.h>
#include <unicode/uscript.h>
#include <unicode/utf8.h>

#include "core/error.h"
#include "core/rng.h"

namespace r1 {
namespace {

bool unspaced(UChar32 c) {
  UErrorCode error = U_ZERO_ERROR;
  switch (uscript_getScript(c, &error)) {
    case USCRIPT_HAN:
    case USCRIPT_HIRAGANA:
    case USCRIPT_KATAKANA:
    case USCRIPT_THAI:
    case USCRIPT_LAO:
    case USCRIPT_KHMER:
    case USCRIPT_MYANMAR: return true;
    default: return false;
  }
}

}  // namespace

Decontaminator::Decontaminator(const DecontaminateOptions& options) : options_(options) {
  if (options.ngram < 3 || options.ngram > 100) throw ConfigError(message("decontaminate.ngram is ", options.ngram, "; it must be from 3 to 100"));
  if (options.characters < 3 || options.characters > 200)
    throw ConfigError(message("decontaminate.characters is ", options.characters, "; it must be from 3 to 200"));
}

std::vector<Decontaminator::Unit> Decontaminator::units_of(std::string_view text) {
  std::vector<Unit> out;
  bool open = false;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(text.data());
  for (std::size_t i = 0; i < text.size();) {
    UChar32 c = 0;
    std::int32_t used = 0;
    U8_NEXT(bytes + i, used, static_cast<std::int32_t>(std::min<std::size_t>(text.size() - i, 4)), c);
    const std::size_t end = i + static_cast<std::size_t>(used);
    if (c < 0 || !u_isalnum(c)) {
      if (c < 0 || !(u_getCombiningClass(c) > 0)) open = false;
    } else if (unspaced(c)) {
      out.push_back({mix64(static_cast<std::uint64_t>(c)), i, end, true});
      open = false;
    } else {
      if (!open) out.push_back({0, i, end, false});
      open = true;
      out.back().hash = mix64(out.back().hash + static_cast<std::uint64_t>(u_foldCase(c, U_FOLD_CASE_DEFAULT)) + 1);
      out.back().end = end;
    }
    i = end;
  }
  return out;
}

// use(hash, first unit, last unit): windows of `ngram` spaced words, and of `characters` units that hold an unspaced one.
template <class F>
void Decontaminator::each_gram(const std::vector<Unit>& units, F&& use) const {
  const auto hash_of = [&](std::size_t begin, std::size_t n) {
    std::uint64_t h = n;
    for (std::size_t k = 0; k < n; ++k) h = mix64(h + units[begin + k].hash);
    return h;
  };
  std::vector<std::size_t> unspaced_before(units.size() + 1, 0);
  for (std::size_t i = 0; i < units.size(); ++i) unspaced_before[i + 1] = unspaced_before[i] + units[i].unspaced;
  const auto words = static_cast<std::size_t>(options_.ngram), chars = static_cast<std::size_t>(options_.characters);
  for (std::size_t i = 0; i + words <= units.size(); ++i)
    if (unspaced_before[i + words] == unspaced_before[i]) use(hash_of(i, words), i, i + words - 1);
  for (std::size_t i = 0; i + chars <= units.size(); ++i)
    if (unspaced_before[i + chars] > unspaced_before[i]) use(hash_of(i, chars), i, i + chars - 1);
}

std::uint64_t Decontaminator::whole(const std::vector<Unit>& units) {
  std::uint64_t h = 0x77686F6C65ull;
  for (const Unit& u : units) h = mix64(h + u.hash);
  return h;
}

void Decontaminator::add(const std::string& source, std::string_view text) {
  if (sources_.empty() || sources_.back() != source) sources_.push_back(source);
  const auto number = static_cast<std::uint32_t>(sources_.size() - 1);
  const std::vector<Unit> units = units_of(text);
  if (units.empty()) return;
  bool any = false;
  each_gram(units, [&](std::uint64_t h, std::size_t, std::size_t) {
    grams_.try_emplace(h, number);
    any = true;
  });
  if (!any) short_items_.try_emplace(whole(units), number);
}

void Decontaminator::add_file(const std::string& path) {
  DatasetOptions options;
  options.paths = {path};
  RowReader reader(options);
  std::int64_t number = 0, before = static_cast<std::int64_t>(items_);
  for (Row row; reader.next(row);) {
    const Prompt prompt = unrendered_prompt(options, row, ++number);
    std::string question;
    for (const Message& m : prompt.messages)
      if (m.role == "user") question += (question.empty() ? "" : "\n") + m.content;
    if (question.empty())
      throw DataError(message(row.file, ":", row.line,
                              ": no question was found in this row of an evaluation set; it needs a column prompt, question, problem or messages"));
    add(path, question);
    // The worked solution; a bare number says nothing. GSM8K's reference is cut to the number, its column is not.
    for (const char* column : {"answer", "solution"}) {
      const auto it = row.columns.find(column);
      if (it == row.columns.end()) continue;
      const auto value = nlohmann::json::parse(it->second);
      if (value.is_string() && units_of(value.get<std::string>()).size() >= static_cast<std::size_t>(options_.ngram))
        add(path, value.get<std::string>());
    }
    ++items_;
  }
  R1_CHECK(static_cast<std::int64_t>(items_) > before, path, " gave no item");
}

std::optional<Decontaminator::Hit> Decontaminator::find_gram(std::string_view text, const std::vector<Unit>& units) const {
  std::optional<Hit> hit;
  each_gram(units, [&](std::uint64_t h, std::size_t first, std::size_t last) {
    if (hit) return;
    if (const auto it = grams_.find(h); it != grams_.end())
      hit = Hit{sources_[it->second], std::string(text.substr(units[first].begin, units[last].end - units[first].begin))};
  });
  return hit;
}

std::optional<Decontaminator::Hit> Decontaminator::find(std::string_view question, std::string_view text) const {
  const std::vector<Unit> units = units_of(question);
  if (const auto it = short_items_.find(whole(units)); it != short_items_.end()) return Hit{sources_[it->second], std::string(question)};
  if (auto hit = find_gram(question, units)) return hit;
  return find_gram(text, units_of(text));
}

}  // namespace r1
