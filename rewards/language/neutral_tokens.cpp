#include "rewards/language/neutral_tokens.h"

#include <algorithm>
#include <array>

namespace r1 {
namespace {

bool upper(char c) { return c >= 'A' && c <= 'Z'; }
bool lower(char c) { return c >= 'a' && c <= 'z'; }
bool letter(char c) { return upper(c) || lower(c); }
bool digit(char c) { return c >= '0' && c <= '9'; }

// Written alike in every language.
constexpr auto kNeutralWords = std::to_array<std::string_view>(
    {"sin", "cos",  "tan",  "cot",  "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "log", "ln", "lg",
     "exp", "lim",  "max",  "min",  "mod", "gcd", "lcm",    "det",    "sqrt",   "cm",   "mm",   "km",   "nm",  "kg", "mg",
     "ml",  "mol",  "rpm",  "kWh",  "kHz", "MHz", "GHz",    "Hz",     "kB",     "MB",   "GB",   "https", "http"});

bool dotted_name(std::string_view token) {
  for (std::size_t i = 1; i + 1 < token.size(); ++i) {
    // "end.Next" is a sentence's end without its space; names go on in small letters.
    if (token[i] == '.' && letter(token[i - 1]) && (lower(token[i + 1]) || token[i + 1] == '_')) return true;
  }
  return false;
}

// "a+b", "ax^n", "p/q": an expression of short names.
bool expression(std::string_view token) {
  std::size_t longest = 0, run = 0;
  for (const char c : token) {
    run = letter(c) ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  const bool operators = token.find_first_of("+^%&~#?") != token.npos;
  return longest <= (operators ? 2u : 1u);
}

bool path(std::string_view token) {
  if (token.find("://") != token.npos || token.starts_with("www.")) return true;
  if (token.starts_with("/") || token.starts_with("./") || token.starts_with("../") || token.starts_with("~/"))
    return token.size() > 2;
  // "and/or" is two words, "src/text/file" a path.
  return std::count(token.begin(), token.end(), '/') >= 2 || token.find('\\') != token.npos;
}

}  // namespace

bool neutral_token(std::string_view token, bool call) {
  if (token.empty()) return false;
  if (std::any_of(token.begin(), token.end(), [](char c) { return digit(c) || c == '_' || c == '@' || c == '='; }))
    return true;
  if (call || path(token) || dotted_name(token)) return true;
  const auto letters = std::count_if(token.begin(), token.end(), letter);
  if (letters <= 1 || expression(token)) return true;
  if (letters == static_cast<std::ptrdiff_t>(token.size())) {
    if (token.size() <= 5 && std::all_of(token.begin(), token.end(), upper)) return true;
    for (std::size_t i = 0; i + 1 < token.size(); ++i) {
      if (lower(token[i]) && upper(token[i + 1])) return true;
    }
  }
  return std::find(kNeutralWords.begin(), kNeutralWords.end(), token) != kNeutralWords.end();
}

}  // namespace r1
