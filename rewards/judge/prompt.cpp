#include "rewards/judge/prompt.h"

#include <algorithm>
#include <array>

#include "core/digest.h"
#include "core/error.h"
#include "core/json_text.h"
#include "core/suggest.h"

namespace r1 {
namespace {

// Beginnings of what some chat template turns into control tokens; servers tokenize them inside messages too.
constexpr auto kControl = std::to_array<std::string_view>({
    "<|", "<\xEF\xBD\x9C", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<s>", "</s>", "<start_of_turn>", "<end_of_turn>", "<bos>", "<eos>",
    "<think>", "</think>", "[BEGIN ", "[END "});

constexpr auto kNames = std::to_array<std::pair<std::string_view, std::string PromptFields::*>>({
    {"question", &PromptFields::question}, {"reference", &PromptFields::reference}, {"answer", &PromptFields::answer},
    {"answer_a", &PromptFields::answer_a}, {"answer_b", &PromptFields::answer_b}, {"completion", &PromptFields::completion},
    {"rubric", &PromptFields::rubric}});

std::string clean(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const int n = utf8_length(text.substr(i));
    if (n == 0) {
      out += "\xEF\xBF\xBD";
      ++i;
      continue;
    }
    const auto c = static_cast<unsigned char>(text[i]);
    if (n == 1 && ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7F)) {
      out += ' ';
      ++i;
      continue;
    }
    const auto control = std::find_if(kControl.begin(), kControl.end(), [&](std::string_view w) { return text.substr(i).starts_with(w); });
    out.append(text.substr(i, static_cast<std::size_t>(n)));
    if (control != kControl.end()) out += ' ';
    i += static_cast<std::size_t>(n);
  }
  return out;
}

bool continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// The next {name} from `from` on: its place and its name. npos: none. A brace before anything but a small letter is text
// (JSON in the instructions).
std::pair<std::size_t, std::string_view> next_name(std::string_view text, std::size_t from) {
  for (std::size_t open = text.find('{', from); open != std::string_view::npos; open = text.find('{', open + 1)) {
    std::size_t end = open + 1;
    while (end < text.size() && ((text[end] >= 'a' && text[end] <= 'z') || text[end] == '_')) ++end;
    if (end > open + 1 && end < text.size() && text[end] == '}') return {open, text.substr(open + 1, end - open - 1)};
  }
  return {std::string_view::npos, {}};
}

std::string PromptFields::* field(std::string_view name) {
  for (const auto& [known, member] : kNames)
    if (known == name) return member;
  std::vector<std::string> names;
  for (const auto& [known, member] : kNames) names.emplace_back(known);
  throw ConfigError(message("the judge's prompt has {", name, "}; known: ", join_names(names)));
}

}  // namespace

std::string harmless(std::string_view text, std::size_t max_bytes, bool keep_head) {
  if (text.size() <= max_bytes) return clean(text);
  std::size_t head = keep_head ? max_bytes / 3 : 0;
  std::size_t tail = text.size() - (max_bytes - head);
  while (head > 0 && continuation(text[head])) --head;
  while (tail < text.size() && continuation(text[tail])) ++tail;
  const std::string left_out = message("(", tail - head, " bytes left out)");
  return clean(text.substr(0, head)) + (head > 0 ? "\n" : "") + left_out + "\n" + clean(text.substr(tail));
}

std::string between_marks(std::string_view text) {
  std::string mark;
  for (int attempt = 0; mark.empty() || text.find(mark) != std::string_view::npos; ++attempt) {
    Hasher hash;
    hash.update_field(text);
    hash.update_field(std::to_string(attempt));
    mark = to_hex(hash.digest()).substr(0, 16);
  }
  return message("[BEGIN ", mark, "]\n", text, "\n[END ", mark, "]");
}

std::vector<std::string> template_names(std::string_view text) {
  std::vector<std::string> out;
  for (auto [at, name] = next_name(text, 0); at != std::string_view::npos; std::tie(at, name) = next_name(text, at + 1)) {
    field(name);
    out.emplace_back(name);
  }
  return out;
}

std::string fill_template(std::string_view text, const PromptFields& fields) {
  std::string out;
  std::size_t from = 0;
  for (auto [at, name] = next_name(text, 0); at != std::string_view::npos; std::tie(at, name) = next_name(text, from)) {
    out.append(text.substr(from, at - from));
    out += fields.*field(name);
    from = at + name.size() + 2;
  }
  return out.append(text.substr(from));
}

std::string question_of(const Prompt& prompt) {
  for (auto m = prompt.messages.rbegin(); m != prompt.messages.rend(); ++m)
    if (m->role == "user") return m->content;
  return prompt.text;
}

}  // namespace r1
