#include "rewards/audit/plain_answer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace r1::audit {
namespace {

bool digit(char c) { return c >= '0' && c <= '9'; }
bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || static_cast<unsigned char>(c) >= 0x80; }
bool blank(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

std::string_view trimmed(std::string_view s) {
  while (!s.empty() && blank(s.front())) s.remove_prefix(1);
  while (!s.empty() && blank(s.back())) s.remove_suffix(1);
  return s;
}

// Replaces dressing by plain characters in one pass; the first entry that fits wins.
std::string undressed(std::string_view s) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 17> kTable = {{
      {"\\dfrac", "\\frac"}, {"\\tfrac", "\\frac"}, {"{,}", ","}, {"\\!", ""}, {"\\,", ""}, {"\\;", ""}, {"\\$", "$"},
      {"\\%", "%"}, {"**", ""}, {"\xE2\x88\x92", "-"}, {"\xE2\x80\x93", "-"}, {"\xC2\xA0", " "}, {"\xEF\xBC\x8E", "."},
      {"\xEF\xBC\x8C", ","}, {"\xEF\xBC\x8D", "-"}, {"\xEF\xBC\x9A", ":"}, {"\xEF\xBC\x9D", "="}}};
  std::string out;
  out.reserve(s.size());
  for (std::size_t i = 0; i < s.size();) {
    if (s[i] != '\\' && s[i] != '{' && s[i] != '*' && static_cast<unsigned char>(s[i]) < 0x80) {
      out += s[i++];
      continue;
    }
    if (s.substr(i).starts_with("\xEF\xBC") && i + 2 < s.size()) {  // full-width digits U+FF10..FF19
      const auto last = static_cast<unsigned char>(s[i + 2]);
      if (last >= 0x90 && last <= 0x99) {
        out += static_cast<char>('0' + (last - 0x90));
        i += 3;
        continue;
      }
    }
    const auto hit = std::find_if(kTable.begin(), kTable.end(), [&](const auto& e) { return s.substr(i).starts_with(e.first); });
    if (hit == kTable.end()) {
      out += s[i++];
      continue;
    }
    out += hit->second;
    i += hit->first.size();
  }
  return out;
}

struct Number {
  PlainAnswer answer;
  std::size_t begin = 0, end = 0;
};

// Unsigned digits with thousands' commas and decimals at s[i].
std::size_t read_decimal(std::string_view s, std::size_t i, std::string& digits, int& decimals) {
  decimals = 0;
  while (i < s.size()) {
    if (digit(s[i])) digits += s[i++];
    else if (s[i] == ',' && i + 3 < s.size() && digit(s[i + 1]) && digit(s[i + 2]) && digit(s[i + 3]) &&
             (i + 4 == s.size() || !digit(s[i + 4]))) ++i;
    else break;
  }
  if (i + 1 < s.size() && s[i] == '.' && digit(s[i + 1])) {
    digits += s[i++];
    while (i < s.size() && digit(s[i])) digits += s[i++], ++decimals;
  }
  return i;
}

std::string canonical_integer(std::string digits, bool negative) {
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size() - 1));
  return (negative && digits != "0" ? "-" : "") + digits;
}

// The number that begins at s[i] (a digit, ".5" or \frac{a}{b}); `begin` takes in its sign.
std::optional<Number> number_at(std::string_view s, std::size_t i) {
  Number n;
  n.begin = i;
  std::string top, bottom;
  int ignored = 0;
  std::size_t end = i;
  if (s.substr(i).starts_with("\\frac{")) {
    end = read_decimal(s, i + 6, top, ignored);
    if (top.empty() || !s.substr(end).starts_with("}{")) return std::nullopt;
    end = read_decimal(s, end + 2, bottom, ignored);
    if (bottom.empty() || end >= s.size() || s[end] != '}') return std::nullopt;
    ++end;
  } else {
    end = read_decimal(s, i, top, n.answer.decimals);
    if (top.empty()) return std::nullopt;
    if (end + 1 < s.size() && s[end] == '/' && digit(s[end + 1])) end = read_decimal(s, end + 1, bottom, ignored);
  }
  n.end = end;
  std::size_t before = i;
  if (before > 0 && s[before - 1] == '$') --before;
  const bool negative = before > 0 && s[before - 1] == '-' &&
                        (before == 1 || !(digit(s[before - 2]) || letter(s[before - 2]) || s[before - 2] == ')' || s[before - 2] == '}'));
  if (negative) n.begin = before - 1;
  n.answer.number = true;
  n.answer.value = std::strtold(top.c_str(), nullptr);
  if (!bottom.empty()) {
    const long double divisor = std::strtold(bottom.c_str(), nullptr);
    if (divisor == 0) return std::nullopt;
    n.answer.value /= divisor;
    n.answer.decimals = 0;
  } else if (n.answer.decimals == 0) {
    n.answer.integer = canonical_integer(top, negative);
  }
  if (negative) n.answer.value = -n.answer.value;
  n.answer.text = s.substr(n.begin, n.end - n.begin);
  return n;
}

std::vector<Number> numbers_in(std::string_view s) {
  std::vector<Number> out;
  for (std::size_t i = 0; i < s.size();) {
    const bool inside = i > 0 && (digit(s[i - 1]) || letter(s[i - 1]));
    std::optional<Number> n;
    if ((digit(s[i]) && !inside) || s.substr(i).starts_with("\\frac{")) n = number_at(s, i);
    if (!n) {
      ++i;
      continue;
    }
    // "3 1/2" is one number.
    if (!out.empty() && !out.back().answer.integer.empty() && n->answer.integer.empty() && n->answer.value > 0 && n->answer.value < 1 &&
        n->answer.decimals == 0 && (n->begin == out.back().end || (n->begin == out.back().end + 1 && s[out.back().end] == ' '))) {
      Number& whole = out.back();
      whole.answer.value += whole.answer.integer[0] == '-' ? -n->answer.value : n->answer.value;
      whole.answer.integer.clear();
      whole.end = n->end;
      whole.answer.text = s.substr(whole.begin, whole.end - whole.begin);
    } else {
      out.push_back(std::move(*n));
    }
    i = std::max(i + 1, out.back().end);
  }
  return out;
}

std::string words_of(std::string_view s) {
  std::string out;
  bool gap = false;
  for (char c : s) {
    if (!letter(c) && !digit(c)) {
      gap = !out.empty();
      continue;
    }
    if (gap) out += ' ';
    gap = false;
    out += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  }
  return out;
}

std::string_view braced(std::string_view s) {  // up to the brace that closes; all if none does
  int depth = 1;
  for (std::size_t i = 0; i < s.size(); ++i) {
    depth += (s[i] == '{') - (s[i] == '}');
    if (depth == 0) return s.substr(0, i);
  }
  return s;
}

std::size_t rfind_lower(std::string_view s, std::string_view word) {  // word in lower case
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  for (std::size_t at = s.size() < word.size() ? 0 : s.size() - word.size() + 1; at-- > 0;) {
    std::size_t i = 0;
    while (i < word.size() && lower(s[at + i]) == word[i]) ++i;
    if (i == word.size()) return at;
  }
  return std::string_view::npos;
}

// Where the answer stands; `whole`: nothing marks it.
struct Place {
  std::string_view text;
  bool phrase = false, whole = false;
};

// After "answer": "is", ":" or "="; not ", ", "s" or ">".
bool says_what_follows(std::string_view rest) {
  while (!rest.empty() && blank(rest.front())) rest.remove_prefix(1);
  return rest.starts_with(":") || rest.starts_with("=") || rest.starts_with("is ") || rest.starts_with("is:");
}

Place answer_place(std::string_view s) {
  constexpr auto kNone = std::string_view::npos;
  struct Mark { std::size_t at; int kind; };
  std::vector<Mark> marks = {{s.rfind("boxed{"), 0}, {s.rfind("<answer>"), 1}, {s.rfind("####"), 2}};
  std::string_view prose = s;  // tags are no prose
  if (const auto close = prose.rfind("</answer>"); close != kNone) prose = prose.substr(0, close);
  auto phrase = rfind_lower(prose, "answer");
  if (phrase != kNone && !says_what_follows(prose.substr(phrase + 6))) phrase = kNone;
  marks.push_back({phrase, 3});
  std::erase_if(marks, [](const Mark& m) { return m.at == kNone; });
  if (marks.empty()) return {s, false, true};
  const Mark last = *std::max_element(marks.begin(), marks.end(), [](const Mark& a, const Mark& b) { return a.at < b.at; });
  std::string_view rest = s.substr(last.at);
  switch (last.kind) {
    case 0: return {braced(rest.substr(6)), false, false};
    case 1: rest.remove_prefix(8); return {rest.substr(0, rest.find("</answer>")), false, false};
    case 2: rest.remove_prefix(4); return {rest.substr(0, rest.find('\n')), false, false};
    default: break;
  }
  rest.remove_prefix(6);
  while (!rest.empty() && (blank(rest.front()) || rest.front() == ':' || rest.front() == '=')) rest.remove_prefix(1);
  if (rest.starts_with("is ") || rest.starts_with("is:")) rest.remove_prefix(3);
  rest = rest.substr(0, std::min(rest.find('\n'), rest.find(". ")));
  if (words_of(rest).empty()) return {s, false, true};
  return {rest, true, false};
}

}  // namespace

std::optional<PlainAnswer> plain_gold(std::string_view reference) {
  if (const auto at = reference.rfind("####"); at != reference.npos) reference.remove_prefix(at + 4);
  else if (const auto box = reference.rfind("boxed{"); box != reference.npos) reference = braced(reference.substr(box + 6));
  const std::string s(trimmed(undressed(reference)));
  if (const auto numbers = numbers_in(s); !numbers.empty()) {
    const std::string around = s.substr(0, numbers[0].begin) + s.substr(numbers[0].end);
    if (numbers.size() == 1 && around.find_first_not_of("$%. ") == around.npos) return numbers[0].answer;
    return std::nullopt;
  }
  const bool plain = !s.empty() && s.size() <= 40 && std::all_of(s.begin(), s.end(), [](char c) {
    return letter(c) || digit(c) || c == ' ' || c == '.' || c == '(' || c == ')' || c == '-' || c == '\'';
  }) && std::any_of(s.begin(), s.end(), letter);
  if (!plain || words_of(s).empty()) return std::nullopt;
  PlainAnswer out;
  out.text = words_of(s);
  return out;
}

std::optional<PlainAnswer> plain_answer(std::string_view completion, const PlainAnswer& gold, bool opened) {
  const auto closed = completion.rfind("</think>");
  if (closed != completion.npos) completion.remove_prefix(closed + 8);
  else if (opened || trimmed(completion).starts_with("<think>")) return std::nullopt;
  const std::string text = undressed(completion);
  const Place place = answer_place(text);
  if (gold.number) {
    std::string_view where = place.text;
    const auto equals = place.phrase ? where.rfind('=') : where.npos;
    if (equals != where.npos) where.remove_prefix(equals + 1);
    const auto numbers = numbers_in(where);
    if (numbers.empty()) return std::nullopt;
    return place.phrase ? numbers.front().answer : numbers.back().answer;
  }
  std::string_view where = trimmed(place.text);
  if (place.whole && where.rfind('\n') != where.npos) where.remove_prefix(where.rfind('\n') + 1);
  PlainAnswer out;
  out.text = words_of(where);
  if (out.text.empty()) return std::nullopt;
  return out;
}

bool plain_equal(const PlainAnswer& gold, const PlainAnswer& answer) {
  if (gold.number != answer.number) return false;
  if (gold.number) {
    if (!gold.integer.empty() && !answer.integer.empty()) return gold.integer == answer.integer;
    const long double off = std::fabs(gold.value - answer.value);
    if (off <= 1e-9L * std::max(1.0L, std::fabs(gold.value))) return true;
    return answer.decimals >= 3 && off <= 0.5L * std::pow(10.0L, -answer.decimals) * 1.000001L;
  }
  if (gold.text == answer.text) return true;
  return answer.text.starts_with(gold.text + " ") || answer.text.ends_with(" " + gold.text);
}

}  // namespace r1::audit
