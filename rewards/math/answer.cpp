#include "rewards/math/answer.h"

#include <algorithm>
#include <utility>

#include "rewards/answer_text.h"
#include "rewards/completion_text.h"

namespace r1::math {
namespace {

constexpr bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// Reads the choice and sets what follows it.
char choice_of(std::string_view s, std::string_view& content) {
  for (const std::string_view word : {"option ", "Option ", "choice ", "Choice ", "answer ", "Answer ",
                                      "\u9009\u9879", "\u9009\u62E9", "\u9009", "\u7B54\u6848\u662F"}) {  // choose, the answer is

    if (s.starts_with(word)) s = trim(s.substr(word.size()));
  }
  const bool open = s.starts_with('(');
  if (open) s.remove_prefix(1);
  if (s.empty() || s[0] < 'A' || s[0] > 'J') return 0;
  const char letter = s[0];
  s.remove_prefix(1);
  if (s.empty()) return open ? '\0' : letter;
  const char mark = s[0];
  if (open ? mark != ')' : mark != ')' && mark != '.' && mark != ':') return 0;
  s.remove_prefix(1);
  if (!s.empty() && s[0] != ' ') return 0;  // (A)(B), A:B
  content = trim(s);
  return letter;
}

bool is_word(std::string_view s) {
  static constexpr std::string_view kShort[] = {"no", "on", "No", "On", "NO", "up", "so"};
  if (std::find(std::begin(kShort), std::end(kShort), s) != std::end(kShort)) return true;
  return s.size() > 2 && std::all_of(s.begin(), s.end(), is_letter);
}

}  // namespace

Answer read_answer(std::string_view plain) {
  Answer out;
  CleanAnswer clean = clean_answer_spans(plain);
  out.parsed = parse(clean);
  out.text = std::move(clean.text);
  if (out.parsed.number) return out;
  out.word = is_word(out.text);
  std::string_view content;
  out.choice = choice_of(out.text, content);
  out.choice_alone = out.choice && content.empty();
  if (out.choice && !out.choice_alone) {
    out.content = parse({std::string(content), {}});
  }
  return out;
}

std::string to_string(const Answer& a) {
  if (a.parsed.ok() && !a.word && !a.choice) return to_string(a.parsed.tree);
  return a.text.size() <= 80 ? a.text : a.text.substr(0, 60) + "...";
}

}  // namespace r1::math
