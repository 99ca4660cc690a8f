#include "rewards/answer_extract.h"

#include <algorithm>
#include <array>
#include <utility>

#include "rewards/answer_text.h"
#include "rewards/completion_text.h"
#include "rewards/number.h"

namespace r1 {
namespace {

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
constexpr bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

ExtractedAnswer found(std::string_view text, const char* how) { return {true, text, how, {}, {}, {}}; }
ExtractedAnswer not_found(std::string_view why) { return {false, {}, "none", why, {}, {}}; }

// The last math span $..$, $$..$$, \(..\), \[..\] that holds a character `wanted` accepts. A dollar opens only before a
// non-space and closes only after one and not before a digit, so that "$5 and $6" is money.
struct MathSpan {
  std::string_view inside;
  std::size_t begin = std::string_view::npos, end = 0;  // with delimiters
};
MathSpan last_math_span(std::string_view s, bool with_digit) {
  MathSpan last;
  std::size_t open = std::string_view::npos, open_end = 0;
  char kind = '\0';
  bool digit = false;
  const auto close = [&](std::size_t at, std::size_t end) {
    if (!with_digit || digit) last = {s.substr(open_end, at - open_end), open, end};
    open = std::string_view::npos;
  };
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (is_digit(s[i])) digit = true;
    if (s[i] == '\\' && i + 1 < s.size()) {
      const char c = s[i + 1];
      if (c == '(' || c == '[') {
        open = i, open_end = i + 2, kind = c, digit = false;
      } else if ((c == ')' && kind == '(') || (c == ']' && kind == '[')) {
        if (open != std::string_view::npos) close(i, i + 2);
      }
      ++i;
    } else if (s[i] == '$') {
      const bool twice = i + 1 < s.size() && s[i + 1] == '$';
      const std::size_t width = twice ? 2 : 1;
      const char mark = twice ? 'D' : '$';
      const bool can_close = twice || (i > 0 && !is_space(s[i - 1]) && (i + 1 >= s.size() || !is_digit(s[i + 1])));
      if (open != std::string_view::npos && kind == mark && can_close) {
        close(i, i + width);
      } else if (twice || (i + 1 < s.size() && !is_space(s[i + 1]))) {
        open = i, open_end = i + width, kind = mark, digit = false;
      }
      i += width - 1;
    }
  }
  return last;
}

// Cuts a phrase's answer: the rest of the line or the sentence.
std::string_view sentence(std::string_view s) {
  s = s.substr(0, s.find('\n'));
  for (std::size_t i = s.find(". "); i != std::string_view::npos; i = s.find(". ", i + 2)) {
    if (i > 0) return s.substr(0, i);
  }
  return s;
}

bool equal_ignoring_case(std::string_view a, std::string_view lower) {
  return a.size() == lower.size() && std::equal(a.begin(), a.end(), lower.begin(), [](char x, char y) {
           return (x >= 'A' && x <= 'Z' ? static_cast<char>(x + 32) : x) == y;
         });
}

// The text after the last "(final) answer is/:/=" in any case, also in Chinese; found = false if there is none.
struct Phrase {
  std::string_view rest;
  bool found = false;
};
Phrase last_phrase(std::string_view s) {
  static constexpr std::string_view kWord = "answer";
  static constexpr std::string_view kChinese = "\xE7\xAD\x94\xE6\xA1\x88";  // da an
  static constexpr std::array<std::string_view, 6> kAfter = {"is",           ":",       "=", "\xE6\x98\xAF",
                                                             "\xE4\xB8\xBA", "would be"};
  Phrase last;
  for (std::size_t i = 0; i + kChinese.size() <= s.size(); ++i) {
    std::size_t end = 0;
    if ((s[i] == 'a' || s[i] == 'A') && equal_ignoring_case(s.substr(i, kWord.size()), kWord)) end = i + kWord.size();
    else if (s[i] == kChinese[0] && s.substr(i).starts_with(kChinese)) end = i + kChinese.size();
    if (end == 0 || (i > 0 && is_letter(s[i - 1]))) continue;
    const auto skip_marks = [&] {
      while (end < s.size() && (s[end] == ' ' || s[end] == '*' || s[end] == '_')) ++end;
    };
    skip_marks();
    for (const std::string_view after : kAfter) {
      if (!s.substr(end).starts_with(after)) continue;
      end += after.size();
      if (after == "is" && end < s.size() && is_letter(s[end])) break;
      skip_marks();
      if (end < s.size() && s[end] == ':') ++end, skip_marks();  // "is: 5"
      while (end < s.size() && (s[end] == '\n' || s[end] == ' ' || s[end] == '*')) ++end;
      last = {s.substr(end), true};
      break;
    }
    i = end > i ? end - 1 : i;
  }
  return last;
}

// The number a phrase's sentence begins with ("42 because ..."), or its last number, or the sentence itself.
ExtractedAnswer read_phrase(std::string_view rest) {
  std::string_view s = trim(sentence(rest));
  while (!s.empty() && (s.back() == '!' || s.back() == '?' || s.back() == '.')) s.remove_suffix(1);
  if (s.empty()) return not_found("empty");
  if (parse_number(clean_answer(s))) return found(s, "phrase");
  if (s.starts_with("$") || s.starts_with("\\(") || s.starts_with("\\[")) {
    const std::size_t width = s.starts_with("$") && !s.starts_with("$$") ? 1 : 2;
    const std::string_view close = s.starts_with("$$")    ? "$$"
                                   : s.starts_with("$")   ? "$"
                                   : s.starts_with("\\(") ? "\\)"
                                                          : "\\]";
    const std::size_t end = s.find(close, width);
    if (end != std::string_view::npos && (width == 2 || !is_space(s[end - 1])))
      return found(s.substr(width, end - width), "phrase");
  }
  std::size_t i = 0;
  while (i < s.size() && (s[i] == '$' || s[i] == '-' || s[i] == '+')) ++i;
  if (i < s.size() && is_digit(s[i])) {
    const std::size_t end = number_literal_end(s, i);
    const std::string_view after = trim(s.substr(end));
    static constexpr std::string_view kWords[] = {"because",   "since", "as ",     "which", ", since",
                                                  ", because", ", as ", ", which", "("};
    for (const std::string_view word : kWords) {
      if (after.starts_with(word) && (word != "(" || (end < s.size() && s[end] == ' ')))
        return found(s.substr(0, end), "phrase");
    }
  }
  ExtractedAnswer number = last_number(s);
  if (number.found) number.how = "phrase";
  if (number.found || number.why_not == "several") return number;
  return found(s, "phrase");
}

// From the end of one box to the content of the next: nothing but commas, "and", "or", dollar signs?
bool only_joins(std::string_view s) {
  const auto box = s.rfind('\\');  // of \boxed{ or \fbox{
  if (box == std::string_view::npos) return false;
  s = s.substr(0, box);
  static constexpr std::string_view kJoins[] = {"\\quad", "\\qquad", "\\text{and}", "\\text{ and }", "\\text{or}", "\\text{ or }",
                                                "and", "or", ",", ";", "$", " ", "\n", "\\(", "\\)", "\\,", "\\;", "\\ ",
                                                "\xE5\x92\x8C", "\xE6\x88\x96"};  // he, huo
  while (!s.empty()) {
    const auto join = std::find_if(std::begin(kJoins), std::end(kJoins), [&](std::string_view j) { return s.starts_with(j); });
    if (join == std::end(kJoins)) return false;
    s.remove_prefix(join->size());
  }
  return true;
}

ExtractedAnswer read_boxed(std::string_view text) {
  std::vector<std::string_view> boxes = boxed_contents(text);
  if (boxes.empty()) return not_found("no_answer");
  ExtractedAnswer out = found(boxes.back(), "boxed");
  std::size_t first = boxes.size() - 1;  // of the boxes that stand side by side at the end
  while (first > 0 && only_joins(std::string_view(boxes[first - 1].data() + boxes[first - 1].size() + 1,
                                                  boxes[first].data())))
    --first;
  if (first + 1 < boxes.size()) out.beside.assign(boxes.begin() + static_cast<std::ptrdiff_t>(first), boxes.end());
  boxes.resize(first);
  out.others = std::move(boxes);
  return out;
}

ExtractedAnswer read_hash(std::string_view text, bool numbers_only) {
  const auto at = text.rfind("####");
  if (at == std::string_view::npos) return not_found("no_answer");
  std::string_view line = text.substr(at + 4);
  line = trim(line.substr(0, line.find('\n')));
  // Four hashes are also a markdown heading: without a number there, look elsewhere.
  if (line.empty() || (numbers_only && !parse_number(clean_answer(line)))) return not_found("no_answer");
  return found(line, "hash");
}

// The last math span or the last plain number, whichever comes later.
ExtractedAnswer read_last(std::string_view text) {
  const ExtractedAnswer number = last_number(text);
  const MathSpan span = last_math_span(text, true);
  if (span.begin != std::string_view::npos) {
    const auto position = number.found ? static_cast<std::size_t>(number.text.data() - text.data()) : 0;
    if (!number.found || position < span.end) return found(span.inside, "math");
  }
  if (number.found || number.why_not != "no_answer") return number;
  const MathSpan any = last_math_span(text, false);
  if (any.begin != std::string_view::npos && !trim(any.inside).empty()) return found(any.inside, "math");
  return number;
}

}  // namespace

std::vector<std::string_view> boxed_contents(std::string_view s) {
  struct Open {
    std::size_t content;
    bool box;
  };
  std::vector<Open> stack;
  std::vector<std::string_view> boxes;
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '\\') {
      const std::string_view rest = s.substr(i + 1, 7);
      std::size_t end = rest.starts_with("boxed") ? i + 6 : rest.starts_with("fbox") ? i + 5 : 0;
      if (end == 0) {
        ++i;  // an escaped brace is none
        continue;
      }
      while (end < s.size() && s[end] == ' ') ++end;
      if (end < s.size() && s[end] == '{') {
        stack.push_back({end + 1, true});
        i = end;
      }
    } else if (s[i] == '{') {
      stack.push_back({i + 1, false});
    } else if (s[i] == '}' && !stack.empty()) {
      const Open open = stack.back();
      stack.pop_back();
      if (!open.box) continue;
      while (!boxes.empty() && boxes.back().data() > s.data() + open.content) boxes.pop_back();  // a box in this box
      boxes.push_back(s.substr(open.content, i - open.content));
    }
  }
  return boxes;
}

ExtractedAnswer extract_answer(std::string_view text, AnswerSource source) {
  switch (source) {
    case AnswerSource::kWhole: {
      const std::string_view whole = trim(text);
      return whole.empty() ? not_found("empty") : found(whole, "whole");
    }
    case AnswerSource::kBoxed: return read_boxed(text);
    case AnswerSource::kHash: return read_hash(text, false);
    case AnswerSource::kLastNumber: return last_number(text);
    case AnswerSource::kPhrase: {
      const Phrase phrase = last_phrase(text);
      return phrase.found ? read_phrase(phrase.rest) : not_found("no_answer");
    }
    case AnswerSource::kTag:
    case AnswerSource::kAuto: break;
  }
  const TaggedAnswer tag = last_answer_tag(text);
  if (!tag.found && source == AnswerSource::kTag) return not_found("no_answer");
  const std::string_view part = tag.found ? trim(tag.text) : text;
  if (tag.found && part.empty()) return not_found("empty");
  if (ExtractedAnswer boxed = read_boxed(part); boxed.found) return boxed;
  if (const ExtractedAnswer hash = read_hash(part, true); hash.found) return hash;
  if (const Phrase phrase = last_phrase(part); phrase.found) {
    if (const ExtractedAnswer answer = read_phrase(phrase.rest); answer.found || answer.why_not == "several")
      return answer;
  }
  if (tag.found && parse_number(clean_answer(part))) return found(part, "tag");
  if (const ExtractedAnswer last = read_last(part); last.found || !tag.found) return last;
  else if (last.why_not == "several") return last;
  return found(part, "tag");
}

}  // namespace r1
