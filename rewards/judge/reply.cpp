#include "rewards/judge/reply.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include <nlohmann/json.hpp>

#include "rewards/completion_text.h"

namespace r1 {
namespace {

using Json = nlohmann::json;

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::string_view without_marks(std::string_view text) {
  constexpr std::string_view kMarks = " \t\r*_`'\".#:";
  const auto begin = text.find_first_not_of(kMarks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kMarks) - begin + 1);
}

JudgeVerdict::Kind kind_of(std::string_view word, const JudgeWords& words) {
  const std::string said = lower(word);
  if (said == lower(words.yes)) return JudgeVerdict::Kind::kYes;
  if (said == lower(words.no)) return JudgeVerdict::Kind::kNo;
  return said == "unclear" ? JudgeVerdict::Kind::kUnclear : JudgeVerdict::Kind::kUnreadable;
}

// After a reasoning judge's thoughts; nothing where it never finished thinking.
std::string_view spoken(std::string_view reply) { return trim(after_think(reply, false).text); }

std::string_view without_fence(std::string_view text) {
  if (!text.starts_with("```") || !text.ends_with("```") || text.size() < 6) return text;
  const auto line = text.find('\n');
  if (line == std::string_view::npos) return text;
  return trim(text.substr(line, text.size() - 3 - line));
}

}  // namespace

JudgeVerdict read_word(std::string_view reply, const JudgeWords& words) {
  const std::string_view text = spoken(reply);
  const auto line = text.rfind('\n');
  std::string_view last = without_marks(line == std::string_view::npos ? text : text.substr(line + 1));
  for (const std::string_view label : {"final verdict", "verdict"}) {
    if (lower(last).starts_with(label) && last.size() > label.size() && !std::isalpha(static_cast<unsigned char>(last[label.size()]))) {
      last = without_marks(last.substr(label.size()));
      break;
    }
  }
  JudgeVerdict out;
  out.kind = kind_of(last, words);
  out.score = out.kind == JudgeVerdict::Kind::kYes ? 1 : 0;
  if (line != std::string_view::npos) out.reason = trim(text.substr(0, line));
  return out;
}

JudgeVerdict read_json(std::string_view reply, const JudgeWords& words, std::optional<double> scale) {
  const Json json = Json::parse(without_fence(spoken(reply)), nullptr, false);
  JudgeVerdict out;
  if (!json.is_object()) return out;
  if (json.contains("reason") && json["reason"].is_string()) out.reason = json["reason"].get<std::string>();
  if (scale) {
    if (!json.contains("score") || !json["score"].is_number()) return out;
    const double score = json["score"].get<double>();
    if (!(score >= 0 && score <= *scale)) return out;
    out.score = score / *scale;
    out.kind = out.score >= 0.5 ? JudgeVerdict::Kind::kYes : JudgeVerdict::Kind::kNo;
    return out;
  }
  if (!json.contains("verdict") || !json["verdict"].is_string()) return out;
  out.kind = kind_of(trim(json["verdict"].get_ref<const std::string&>()), words);
  out.score = out.kind == JudgeVerdict::Kind::kYes ? 1 : 0;
  return out;
}

}  // namespace r1
