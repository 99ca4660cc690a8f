#include "text/jinja_strings.h"

#include <algorithm>

#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include "core/error.h"
#include "text/unicode.h"

namespace r1::jinja {
namespace {

bool is_space(char32_t c) { return (c >= 0x1c && c <= 0x1f) || unicode::is_space(c); }

char32_t code_of(const std::string& character) {
  std::size_t pos = 0;
  return unicode::next_char(character, pos);
}

std::string joined(const std::vector<std::string>& chars, std::size_t begin, std::size_t end) {
  std::string out;
  for (std::size_t i = begin; i < end; ++i) out += chars[i];
  return out;
}

template <class F>
std::string strip_where(const std::string& s, bool left, bool right, F&& strips) {
  const auto chars = characters(s);
  std::size_t begin = 0, end = chars.size();
  while (left && begin < end && strips(chars[begin])) ++begin;
  while (right && end > begin && strips(chars[end - 1])) --end;
  return joined(chars, begin, end);
}

template <class F>
std::string with_icu(const std::string& s, F&& change) {
  icu::UnicodeString text = icu::UnicodeString::fromUTF8(s);
  change(text);
  std::string out;
  text.toUTF8String(out);
  return out;
}

}  // namespace

std::vector<std::string> split_text(const std::string& s, const std::string& separator, std::int64_t most,
                                    bool from_right) {
  std::vector<std::string> out;
  if (from_right) {
    std::size_t end = s.size();
    while (most != 0 && end >= separator.size()) {
      const std::size_t at = s.rfind(separator, end - separator.size());
      if (at == std::string::npos) break;
      out.push_back(s.substr(at + separator.size(), end - at - separator.size()));
      end = at;
      if (most > 0) --most;
    }
    out.push_back(s.substr(0, end));
    std::reverse(out.begin(), out.end());
    return out;
  }
  if (separator.empty()) {  // only str.count("") comes here: one more than there are characters
    out.resize(characters(s).size() + 2);
    return out;
  }
  std::size_t begin = 0;
  for (std::size_t at = s.find(separator); at != std::string::npos && most != 0; at = s.find(separator, begin)) {
    out.push_back(s.substr(begin, at - begin));
    begin = at + separator.size();
    if (most > 0) --most;
  }
  out.push_back(s.substr(begin));
  return out;
}

std::vector<std::string> split_space(const std::string& s, std::int64_t most, bool from_right) {
  std::vector<std::string> chars = characters(s);
  if (from_right) std::reverse(chars.begin(), chars.end());
  std::vector<std::string> out;
  const auto space_at = [&](std::size_t i) { return is_space(code_of(chars[i])); };
  std::size_t i = 0;
  while (true) {
    while (i < chars.size() && space_at(i)) ++i;
    if (i == chars.size()) break;
    std::size_t end = i;
    if (most == 0) {
      end = chars.size();  // the rest keeps its white space
    } else {
      while (end < chars.size() && !space_at(end)) ++end;
      if (most > 0) --most;
    }
    std::vector<std::string> word(chars.begin() + static_cast<std::ptrdiff_t>(i),
                                  chars.begin() + static_cast<std::ptrdiff_t>(end));
    if (from_right) std::reverse(word.begin(), word.end());
    out.push_back(joined(word, 0, word.size()));
    i = end;
  }
  if (from_right) std::reverse(out.begin(), out.end());
  return out;
}

std::vector<std::string> split_lines(const std::string& s, bool keep_ends) {
  std::vector<std::string> out;
  std::string line;
  const auto chars = characters(s);
  for (std::size_t i = 0; i < chars.size(); ++i) {
    const char32_t c = code_of(chars[i]);
    const bool ends = (c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
    if (!ends) {
      line += chars[i];
      continue;
    }
    std::string end = chars[i];
    if (c == '\r' && i + 1 < chars.size() && chars[i + 1] == "\n") end += chars[++i];
    out.push_back(keep_ends ? line + end : line);
    line.clear();
  }
  if (!line.empty()) out.push_back(line);
  return out;
}

std::string strip_space(const std::string& s, bool left, bool right) {
  return strip_where(s, left, right, [](const std::string& c) { return is_space(code_of(c)); });
}

std::string strip_characters(const std::string& s, const std::string& chars, bool left, bool right) {
  const auto set = characters(chars);
  return strip_where(s, left, right,
                     [&](const std::string& c) { return std::find(set.begin(), set.end(), c) != set.end(); });
}

std::string replace_text(const std::string& s, const std::string& from, const std::string& to, std::int64_t most) {
  std::string out;
  if (from.empty()) {  // Python puts `to` before every character and at the end
    const auto chars = characters(s);
    for (std::size_t i = 0; i <= chars.size(); ++i) {
      if (most < 0 || static_cast<std::int64_t>(i) < most) out += to;
      if (i < chars.size()) out += chars[i];
    }
    return out;
  }
  const auto parts = split_text(s, from, most, false);
  for (std::size_t i = 0; i < parts.size(); ++i) out += (i > 0 ? to : "") + parts[i];
  return out;
}

std::string upper_text(const std::string& s) {
  return with_icu(s, [](icu::UnicodeString& t) { t.toUpper(icu::Locale::getRoot()); });
}
std::string lower_text(const std::string& s) {
  return with_icu(s, [](icu::UnicodeString& t) { t.toLower(icu::Locale::getRoot()); });
}

std::string capitalize_text(const std::string& s) {
  auto chars = characters(s);
  std::string out;
  for (std::size_t i = 0; i < chars.size(); ++i) {
    if (i > 0) out += lower_text(chars[i]);
    else unicode::append(out, static_cast<char32_t>(u_totitle(static_cast<UChar32>(code_of(chars[i])))));
  }
  return out;
}

// A cased letter is upper case behind anything that is no cased letter.
std::string title_text(const std::string& s) {
  std::string out;
  bool inside = false;
  for (const std::string& c : characters(s)) {
    const auto code = static_cast<UChar32>(code_of(c));
    if (inside) out += lower_text(c);
    else unicode::append(out, static_cast<char32_t>(u_totitle(code)));
    inside = u_hasBinaryProperty(code, UCHAR_CASED);
  }
  return out;
}

std::string pad_text(const std::string& s, std::int64_t width, const std::string& fill, int side) {
  const auto have = static_cast<std::int64_t>(characters(s).size());
  if (characters(fill).size() != 1) throw Failure("the fill must be one character");
  if (width > 1'000'000) throw Failure("the width is too large");
  const std::int64_t missing = std::max<std::int64_t>(0, width - have);
  const std::int64_t left = side < 0 ? missing : side > 0 ? 0 : missing / 2 + (missing & width & 1);
  std::string out;
  for (std::int64_t i = 0; i < left; ++i) out += fill;
  out += s;
  for (std::int64_t i = left; i < missing; ++i) out += fill;
  return out;
}

std::string format_text(const std::string& pattern, const Arguments& arguments) {
  std::string out;
  std::size_t next = 0;
  bool numbered = false;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if ((c == '{' || c == '}') && i + 1 < pattern.size() && pattern[i + 1] == c) {
      out += c, ++i;
    } else if (c == '{') {
      const std::size_t end = pattern.find('}', i);
      if (end == std::string::npos) throw Failure("expected '}' in a format string");
      const std::string field = pattern.substr(i + 1, end - i - 1);
      if (field.find_first_of(":!.[{") != std::string::npos)
        throw Failure(message("the format field {", field, "} is not implemented"));
      const bool number =
          !field.empty() && field.size() < 6 && field.find_first_not_of("0123456789") == std::string::npos;
      if (field.empty() ? numbered : number && next > 0) throw Failure("a format string mixes {} and {0}");
      numbered |= number;
      const std::size_t index = field.empty() ? next++ : number ? std::stoul(field) : arguments.positional.size();
      const Value* v = arguments.get(index, field);
      if (!v) throw Failure(message("the format field {", field, "} has no argument"));
      out += v->str();
      i = end;
    } else if (c == '}') {
      throw Failure("single '}' in a format string");
    } else {
      out += c;
    }
  }
  return out;
}

bool all_characters(const std::string& s, CharacterKind kind) {
  if (s.empty()) return false;
  const auto& tables = unicode::Tables::get();
  for (const std::string& text : characters(s)) {
    const char32_t c = code_of(text);
    const std::uint8_t k = tables.classes(c);
    const bool decimal = tables.category(c) == unicode::Nd ||
                         u_getIntPropertyValue(static_cast<UChar32>(c), UCHAR_NUMERIC_TYPE) == U_NT_DIGIT;
    const bool numeric = u_getIntPropertyValue(static_cast<UChar32>(c), UCHAR_NUMERIC_TYPE) != U_NT_NONE;
    bool holds = false;
    switch (kind) {
      case CharacterKind::kDigit: holds = decimal; break;
      case CharacterKind::kNumeric: holds = numeric; break;
      case CharacterKind::kAlpha: holds = k & unicode::kLetter; break;
      case CharacterKind::kAlnum: holds = (k & unicode::kLetter) || numeric; break;
      case CharacterKind::kSpace: holds = is_space(c); break;
    }
    if (!holds) return false;
  }
  return true;
}

}  // namespace r1::jinja
