#include "distill/filters.h"

#include <algorithm>
#include <unordered_map>

#include "core/error.h"
#include "core/json_text.h"
#include "core/rng.h"
#include "rewards/completion_text.h"
#include "rewards/factory.h"
#include "rewards/language/language_reward.h"
#include "rewards/repetition.h"
#include "rewards/word_units.h"

namespace r1 {
namespace {

// Lines without their breaks; `use` returns false to stop.
template <class F>
void each_line(std::string_view text, F&& use) {
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    if (!use(text.substr(begin, end - begin))) return;
    begin = end + 1;
  }
}

std::string percent(double share) { return message(static_cast<int>(share * 1000 + 0.5) / 10.0, " %"); }

}  // namespace

std::string_view chain_of(std::string_view completion, bool opened_by_prompt) {
  return language_region(completion, opened_by_prompt, LanguageRegion::kThink);
}

std::int64_t characters(std::string_view utf8) {
  return std::count_if(utf8.begin(), utf8.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

std::int64_t longest_paragraph(std::string_view utf8) {
  std::int64_t longest = 0, now = 0;
  each_line(utf8, [&](std::string_view line) {
    if (trim(line).empty()) {
      now = 0;
    } else {
      now += characters(line) + (now > 0);  // the line break inside
      longest = std::max(longest, now);
    }
    return true;
  });
  return longest;
}

int most_repeated(std::string_view utf8, int ngram) {
  const std::vector<std::uint64_t> units = word_units(utf8);
  const auto n = static_cast<std::size_t>(ngram);
  std::unordered_map<std::uint64_t, int> counts;
  int most = 0;
  for (std::size_t i = 0; i + n <= units.size(); ++i) {
    std::uint64_t h = 0;
    for (std::size_t k = 0; k < n; ++k) h = mix64(h + units[i + k]);
    most = std::max(most, ++counts[h]);
  }
  return most;
}

bool has_code_block(std::string_view text) {
  bool found = false;
  each_line(text, [&](std::string_view line) {
    const std::string_view rest = trim(line);
    found = rest.starts_with("```") || rest.starts_with("~~~");
    return !found;
  });
  return found;
}

FilterChain::FilterChain(const FilterOptions& o) : options_(o) {
  if (o.language) language_ = make_reward("language", "{language: " + json_quote(o.language_code) + "}");
  const std::pair<bool, std::string_view> all[] = {
      {o.finished, "finished"},          {o.format.has_value(), "format"},         {o.correct, "correct"},   {o.language.has_value(), "language"},
      {o.repetition.has_value(), "repetition"}, {o.max_paragraph > 0, "paragraphs"}, {o.no_code, "code"}, {o.length.has_value(), "length"}};
  for (const auto& [on, name] : all)
    if (on) names_.push_back(name);
}

std::optional<Rejection> FilterChain::judge(const Prompt& prompt, const Completion& c, const Score& score) const {
  const FilterOptions& o = options_;
  const bool opened = prompt_opens_think(prompt);
  if (o.finished && !ended(c)) return Rejection{"finished", to_string(c.stop)};
  if (o.format) {
    const FormatVerdict v = check_format(c.text, opened, c.stop, *o.format);
    if (v.value < 1.f) return Rejection{"format", v.why};
  }
  if (o.correct && score.verdict != Verdict::kCorrect) return Rejection{"correct", to_string(score.verdict)};
  const std::string_view chain = chain_of(c.text, opened);
  if (o.language) {
    std::vector<RewardResult> result(1);
    language_->score(SampleGroup{prompt, {c}}, result);
    if (result[0].detail == "ok" && *result[0].value < *o.language)
      return Rejection{"language", percent(*result[0].value) + " " + result[0].columns["language"]};
  }
  if (o.repetition) {
    if (const int most = most_repeated(c.text, o.repetition->ngram); most > o.repetition->max_count)
      return Rejection{"repetition", message("one phrase ", most, " times")};
    if (const float share = repeated_share(c.text, o.repetition->ngram); share > o.repetition->max_share)
      return Rejection{"repetition", percent(share) + " repeated"};
  }
  if (o.max_paragraph > 0)
    if (const std::int64_t n = longest_paragraph(c.text); n > o.max_paragraph) return Rejection{"paragraphs", message(n, " characters")};
  if (o.no_code && std::find(o.code_tasks.begin(), o.code_tasks.end(), prompt.task) == o.code_tasks.end() && has_code_block(chain))
    return Rejection{"code", "code in the chain"};
  if (o.length) {
    const auto tokens = static_cast<std::int64_t>(c.tokens.size());
    const std::int64_t chars = characters(c.text);
    const auto outside = [](std::int64_t n, std::int64_t low, std::int64_t high) { return n < low || (high > 0 && n > high); };
    if (tokens > 0 && outside(tokens, o.length->min_tokens, o.length->max_tokens)) return Rejection{"length", message(tokens, " tokens")};
    if (outside(chars, o.length->min_characters, o.length->max_characters)) return Rejection{"length", message(chars, " characters")};
  }
  return std::nullopt;
}

}  // namespace r1
