#include "rl/eval/vote.h"

#include "rewards/completion_text.h"
#include "rewards/exact_match.h"
#include "rewards/math/check.h"

namespace r1 {
namespace {

struct Candidate {
  std::size_t first = 0;
  int votes = 0;
  std::string text;
  math::Answer answer;
};

bool equal(const Candidate& c, const std::string& text, const math::Answer& answer, VoteEquality equality) {
  if (c.text == text) return true;
  if (equality == VoteEquality::kText) return false;
  // The checker takes one side as the gold (a decimal may round it): a vote has none, so either way counts.
  return math::check(c.answer, answer).outcome == math::Outcome::kEqual || math::check(answer, c.answer).outcome == math::Outcome::kEqual;
}

}  // namespace

std::optional<std::size_t> majority(std::span<const std::string> answers, VoteEquality equality) {
  std::vector<Candidate> candidates;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const std::string text = equality == VoteEquality::kText ? normalised_text(answers[i], true, false) : std::string(trim(answers[i]));
    if (text.empty()) continue;
    Candidate one{i, 1, text, {}};
    if (equality == VoteEquality::kMaths) one.answer = math::read_answer(plain_forms(text));
    bool known = false;
    for (Candidate& c : candidates) {
      if (!equal(c, text, one.answer, equality)) continue;
      ++c.votes;
      known = true;
      break;
    }
    if (!known) candidates.push_back(std::move(one));
  }
  const Candidate* best = nullptr;
  for (const Candidate& c : candidates)
    if (!best || c.votes > best->votes) best = &c;
  return best ? std::optional(best->first) : std::nullopt;
}

std::string voted_answer(const std::string& completion, bool opened_by_prompt, AnswerSource source) {
  const AnswerRegion region = after_think(completion, opened_by_prompt);
  if (!region.closed) return {};
  const std::string plain = plain_forms(region.text);
  const ExtractedAnswer found = extract_answer(plain, source);
  if (!found.found) return {};
  if (found.beside.empty()) return std::string(found.text);
  std::string joined;
  for (const std::string_view part : found.beside) joined += (joined.empty() ? "" : ", ") + std::string(part);
  return joined;
}

}  // namespace r1
