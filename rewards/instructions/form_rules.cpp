// Rules about the form of a response: lists, sections, JSON, titles, placeholders, two parts.
#include <algorithm>

#include <re2/re2.h>

#include "rewards/completion_text.h"
#include "rewards/instructions/arguments.h"

namespace r1::instructions {
namespace {

int matches(const std::string& text, const re2::RE2& pattern) {
  re2::StringPiece rest(text);
  int count = 0;
  while (re2::RE2::FindAndConsume(&rest, pattern)) ++count;
  return count;
}

Rule placeholders(const Arguments& a) {
  return [n = a.number("num_placeholders")](const std::string& r) {
    static const re2::RE2 kPattern(R"(\[[^\n]*?\])");
    return matches(r, kPattern) >= n;
  };
}
Rule postscript(const Arguments& a) {
  const std::string marker = a.text("postscript_marker");
  const std::string pattern = marker == "P.P.S" || marker == "P.P.S." ? R"(p\.\s?p\.\s?s)"
                              : marker == "P.S."                      ? R"(p\.\s?s\.)"
                                                                      : re2::RE2::QuoteMeta(lower(marker));
  return [regex = std::make_shared<re2::RE2>(pattern)](const std::string& r) { return re2::RE2::PartialMatch(lower(r), *regex); };
}

Rule bullets(const Arguments& a) {
  return [n = a.number("num_bullets")](const std::string& r) {
    int count = 0;
    for (const std::string& line : lines_of(r)) {
      const std::string_view text = trim(line);
      count += (text.size() > 1 && text[0] == '*' && text[1] != '*') || (!text.empty() && text[0] == '-');
    }
    return count == n;
  };
}
Rule constrained(const Arguments&) {
  return [](const std::string& r) {
    for (const char* one : {"My answer is yes.", "My answer is no.", "My answer is maybe."})
      if (r.find(one) != std::string::npos) return true;
    return false;
  };
}
Rule highlights(const Arguments& a) {
  return [n = a.number("num_highlights")](const std::string& r) {
    static const re2::RE2 kOne(R"((\*[^\n\*]*\*))"), kTwo(R"((\*\*[^\n\*]*\*\*))");
    int count = 0;
    for (const re2::RE2* pattern : {&kOne, &kTwo}) {
      re2::StringPiece rest(r);
      std::string found;
      while (re2::RE2::FindAndConsume(&rest, *pattern, &found)) {
        std::erase(found, '*');
        count += !trim(found).empty();
      }
    }
    return count >= n;
  };
}
Rule sections(const Arguments& a) {
  const std::string pattern = R"(\s?)" + re2::RE2::QuoteMeta(std::string(trim(a.text("section_spliter")))) + R"(\s?\d+\s?)";
  return [n = a.number("num_sections"), regex = std::make_shared<re2::RE2>(pattern)](const std::string& r) { return matches(r, *regex) >= n; };
}
Rule json_form(const Arguments&) {
  return [](const std::string& r) {
    std::string_view text = trim(r);
    for (const std::string_view fence : {"```json", "```Json", "```JSON", "```"})
      if (text.starts_with(fence)) {
        text.remove_prefix(fence.size());
        break;
      }
    if (text.ends_with("```")) text.remove_suffix(3);
    return nlohmann::json::accept(trim(text));
  };
}
Rule title(const Arguments&) {
  return [](const std::string& r) {
    for (const std::string& line : lines_of(r)) {
      const std::size_t open = line.find("<<");
      const std::size_t close = open == std::string::npos ? open : line.rfind(">>");
      if (close == std::string::npos || close < open + 2) continue;
      std::string inside = line.substr(open + 2, close - open - 2);
      std::erase_if(inside, [](char c) { return c == '<' || c == '>'; });
      if (!trim(inside).empty()) return true;
    }
    return false;
  };
}

Rule two_responses(const Arguments&) {
  return [](const std::string& r) {
    const std::vector<std::string> parts = split(r, "******");
    std::vector<std::string> full;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (!trim(parts[i]).empty()) full.emplace_back(trim(parts[i]));
      else if (i > 0 && i + 1 < parts.size()) return false;
    }
    return full.size() == 2 && full[0] != full[1];
  };
}
Rule repeat_prompt(const Arguments& a) {
  return [prompt = lower(trim(a.text("prompt_to_repeat")))](const std::string& r) { return lower(trim(r)).starts_with(prompt); };
}

}  // namespace

std::vector<RuleRow> form_rules() {
  return {{"detectable_content:number_placeholders", placeholders},
          {"detectable_content:postscript", postscript},
          {"detectable_format:number_bullet_lists", bullets},
          {"detectable_format:constrained_response", constrained},
          {"detectable_format:number_highlighted_sections", highlights},
          {"detectable_format:multiple_sections", sections},
          {"detectable_format:json_format", json_form},
          {"detectable_format:title", title},
          {"combination:two_responses", two_responses},
          {"combination:repeat_prompt", repeat_prompt}};
}

}  // namespace r1::instructions
