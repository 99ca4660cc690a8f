#include "report/text_signs.h"

#include <algorithm>
#include <array>

#include "rewards/language/consistency.h"
#include "rewards/language/languages.h"

namespace r1::report {
namespace {

constexpr std::array<std::string_view, 27> kWords = {
    "wait", "mistake", "however", "but", "retry", "error", "verify", "wrong", "evaluate", "check",
    "let me check", "let me verify", "double-check", "hmm", "actually", "alternatively", "on second thought", "let me think", "let me try",
    "重新", "等等", "但是", "不对", "检查", "验证", "然而", "错误"};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
bool is_ascii_letter(char c) { return c >= 'a' && c <= 'z'; }
// Latin letters with accents: U+00C0 to U+024F, two bytes.
bool starts_accented(char c) { return static_cast<unsigned char>(c) >= 0xC3 && static_cast<unsigned char>(c) <= 0xC9; }
bool letter_before(std::string_view text, std::size_t at) {
  return at > 0 && (is_ascii_letter(text[at - 1]) || (at > 1 && starts_accented(text[at - 2])));
}
bool letter_at(std::string_view text, std::size_t at) { return at < text.size() && (is_ascii_letter(text[at]) || starts_accented(text[at])); }

}  // namespace

std::span<const std::string_view> reflective_words() { return kWords; }

std::map<std::string, std::size_t> count_reflective(std::string_view text) {
  std::string low(text);
  std::transform(low.begin(), low.end(), low.begin(), lower);
  std::map<std::string, std::size_t> counts;
  for (std::string_view word : kWords) {
    const bool ascii = is_ascii_letter(word[0]);
    std::size_t n = 0;
    for (std::size_t at = low.find(word); at != std::string::npos; at = low.find(word, at + word.size())) {
      const std::size_t end = at + word.size();
      n += !ascii || (!letter_before(low, at) && !letter_at(low, end));
    }
    if (n > 0) counts[std::string(word)] = n;
  }
  return counts;
}

std::map<std::string, std::size_t> words_by_language(std::string_view text) {
  const Language* english = find_language("en");
  const Consistency c = language_consistency(text, *english, {});
  std::map<std::string, std::size_t> words = c.others;
  if (c.target_words > 0) words["en"] += c.target_words;
  if (c.unsure_words > 0) words["unsure"] += c.unsure_words;
  return words;
}

std::optional<double> share_in_language(const SampleRow& row) {
  const auto said = row.columns.find("language");
  const Language* language = said != row.columns.end() ? find_language(said->second) : guess_language(row.prompt);
  if (!language) return std::nullopt;
  std::string_view text = row.completion;
  if (const std::size_t open = text.find("<think>"); open != std::string_view::npos) {
    text.remove_prefix(open + 7);
    text = text.substr(0, text.find("</think>"));
  }
  ConsistencyOptions options;
  options.allowance = 0;
  const Consistency c = language_consistency(text, *language, options);
  return c.defined ? std::optional(c.score) : std::nullopt;
}

bool is_mixed(const std::map<std::string, std::size_t>& words) {
  std::size_t all = 0, most = 0;
  for (const auto& [language, n] : words) {
    if (language == "unsure") continue;
    all += n;
    most = std::max(most, n);
  }
  return all >= 5 && 10 * (all - most) >= all;
}

}  // namespace r1::report
