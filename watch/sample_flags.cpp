#include "watch/sample_flags.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "core/suggest.h"
#include "report/text_signs.h"

namespace r1::watch {
namespace {

std::optional<double> as_number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() && std::isfinite(value) ? std::optional(value) : std::nullopt;
}

}  // namespace

bool is_close(std::string_view gold, std::string_view answer) {
  if (gold.empty() || answer.empty() || gold == answer) return false;
  const auto a = as_number(gold), b = as_number(answer);
  if (a && b && std::abs(*a - *b) <= 0.1 * std::abs(*a)) return true;
  const std::size_t longer = std::max(gold.size(), answer.size());
  return longer >= 2 && longer <= 200 && edit_distance(gold, answer) <= std::max<std::size_t>(1, longer / 5);
}

std::vector<std::string> sample_flags(const Prompt& prompt, const Completion& completion, const Score& score) {
  std::vector<std::string> flags;
  if (score.verdict == Verdict::kCorrect) flags.emplace_back("ok");
  if (score.verdict == Verdict::kUnparsed) flags.emplace_back("unparsed");
  if (score.verdict == Verdict::kTimeout || score.verdict == Verdict::kError) flags.emplace_back("failed");
  if (score.verdict == Verdict::kWrong) {
    flags.emplace_back("wrong");
    const auto gold = score.columns.find("gold_parsed"), read = score.columns.find("answer_parsed");
    if (read != score.columns.end() && is_close(gold == score.columns.end() ? prompt.reference : gold->second, read->second)) flags.emplace_back("close");
  }
  if (completion.stop == StopReason::kLength) flags.emplace_back("truncated");
  if (report::is_mixed(report::words_by_language(completion.text))) flags.emplace_back("mixed");
  return flags;
}

}  // namespace r1::watch
