#include "rewards/completion_text.h"

#include <algorithm>

#include <unicode/uchar.h>
#include <unicode/utf8.h>

namespace r1 {

std::string_view trim(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t\r\n\f\v");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n\f\v") - begin + 1);
}

bool prompt_opens_think(const Prompt& prompt) {
  // Only the end counts; a long prompt is not trimmed from its front.
  const auto last = prompt.text.find_last_not_of(" \t\r\n");
  return last != std::string::npos && std::string_view(prompt.text).substr(0, last + 1).ends_with("<think>");
}

AnswerRegion after_think(std::string_view completion, bool opened_by_prompt) {
  static constexpr std::string_view kClose = "</think>";
  const auto close = completion.rfind(kClose);
  if (close != std::string_view::npos) return {completion.substr(close + kClose.size()), true};
  const auto first = completion.find_first_not_of(" \t\r\n");
  const bool opened =
      opened_by_prompt || (first != std::string_view::npos && completion.substr(first).starts_with("<think>"));
  if (opened) return {{}, false};
  return {completion, true};
}

TaggedAnswer last_answer_tag(std::string_view text) {
  static constexpr std::string_view kOpen = "<answer>", kClose = "</answer>";
  const auto open = text.rfind(kOpen);
  if (open == std::string_view::npos) return {};
  const auto begin = open + kOpen.size();
  return {text.substr(begin, std::min(text.find(kClose, begin), text.size()) - begin), true};
}

namespace {

// The plain form of one code point, or null if it stays as it is.
const char* plain_form(UChar32 c) {
  switch (c) {
    case 0x00A0:
    case 0x1680:
    case 0x202F:
    case 0x205F:
    case 0x3000: return " ";
    case 0x200B:
    case 0x200C:
    case 0x200D:
    case 0x2060:
    case 0xFEFF: return "";
    case 0x2010:
    case 0x2011:
    case 0x2012:
    case 0x2013:
    case 0x2212:
    case 0xFE63:
    case 0x2796: return "-";
    case 0x00D7:
    case 0x2A2F:
    case 0x2219:
    case 0x22C5:
    case 0x00B7:
    case 0x2217:
    case 0x2715:
    case 0x2716: return "*";
    case 0x00F7:
    case 0x2215:
    case 0x2044:
    case 0x2797: return "/";
    case 0x2795: return "+";
    case 0x2236: return ":";
    case 0x3001: return ",";
    case 0x3002: return ".";
    case 0x201C:
    case 0x201D: return "\"";
    case 0x2018:
    case 0x2019: return "'";
    case 0x2248: return "=";  // "≈ 3.14": the number after it is what is answered
    case 0x00B0: return "^\\circ ";
    case 0x03C0: return "\\pi ";
    case 0x221E: return "\\infty ";
    case 0x00BC: return " 1/4";
    case 0x00BD: return " 1/2";
    case 0x00BE: return " 3/4";
    case 0x2153: return " 1/3";
    case 0x2154: return " 2/3";
    case 0x2155: return " 1/5";
    case 0x215B: return " 1/8";
    default: break;
  }
  return c >= 0x2000 && c <= 0x200A ? " " : nullptr;
}

char superscript(UChar32 c) {
  switch (c) {
    case 0x00B9: return '1';
    case 0x00B2: return '2';
    case 0x00B3: return '3';
    case 0x207A: return '+';
    case 0x207B: return '-';
    default: return c == 0x2070 || (c >= 0x2074 && c <= 0x2079) ? static_cast<char>('0' + (c - 0x2070)) : '\0';
  }
}

}  // namespace

std::string plain_forms(std::string_view utf8) {
  if (std::all_of(utf8.begin(), utf8.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; }))
    return std::string(utf8);
  std::string out;
  out.reserve(utf8.size());
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(utf8.data());
  const auto size = static_cast<std::int64_t>(utf8.size());
  bool in_superscript = false, after_root = false, in_root = false;
  for (std::int64_t i = 0; i < size;) {
    const std::int64_t start = i;
    UChar32 c = bytes[i];
    if (c < 0x80) {
      ++i;
    } else {
      // The ICU macro wants 32-bit lengths; a code point needs four bytes.
      std::int32_t used = 0;
      const std::int32_t left = static_cast<std::int32_t>(std::min<std::int64_t>(size - i, 4));
      U8_NEXT(bytes + start, used, left, c);
      i += used;
    }
    const char power = c >= 0x80 ? superscript(c) : '\0';
    if (in_superscript && !power) out += '}';
    if (power && !in_superscript) out += "^{";
    in_superscript = power != '\0';
    // The sign takes the whole number behind it, TeX's command would take one digit.
    const bool digit_here = (after_root || in_root) && c >= 0 && !power && u_charDigitValue(c) >= 0;
    if (in_root && !digit_here && c != '.') out += '}', in_root = false;
    if (after_root) out += digit_here ? "{" : " ", in_root = digit_here;
    after_root = c == 0x221A;
    if (after_root) {
      out += "\\sqrt";
      continue;
    }
    if (power) {
      out += power;
    } else if (c >= 0 && c < 0x80) {
      out += static_cast<char>(c);
    } else if (const char* plain = c < 0 ? nullptr : plain_form(c)) {
      out += plain;
    } else if (c >= 0xFF01 && c <= 0xFF5E) {
      out += static_cast<char>(c - 0xFEE0);
    } else if (const int digit = c < 0 ? -1 : u_charDigitValue(c); digit >= 0) {
      out += static_cast<char>('0' + digit);
    } else {
      out.append(utf8.substr(static_cast<std::size_t>(start), static_cast<std::size_t>(i - start)));
    }
  }
  if (in_superscript || in_root) out += '}';
  if (after_root) out += ' ';
  return out;
}

std::size_t after_white_space(std::string_view utf8, std::size_t i) {
  UChar32 c = 0;
  std::int32_t used = 0;
  U8_NEXT(reinterpret_cast<const std::uint8_t*>(utf8.data()) + i, used,
          static_cast<std::int32_t>(std::min<std::size_t>(utf8.size() - i, 4)), c);
  return c >= 0 && u_isUWhiteSpace(c) ? i + static_cast<std::size_t>(used) : i;
}

bool has_word(std::string_view utf8) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(utf8.data());
  const auto size = static_cast<std::int64_t>(utf8.size());
  for (std::int64_t i = 0; i < size;) {
    UChar32 c = 0;
    std::int32_t used = 0;
    const std::int32_t left = static_cast<std::int32_t>(std::min<std::int64_t>(size - i, 4));
    U8_NEXT(bytes + i, used, left, c);
    i += used;
    if (c >= 0 && u_isalnum(c)) return true;
  }
  return false;
}

}  // namespace r1
