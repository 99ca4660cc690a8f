#include "rewards/math/check.h"

#include <algorithm>

#include "rewards/completion_text.h"
#include "rewards/math/shape.h"
#include "rewards/math/token.h"

namespace r1::math {
namespace {

Finding compare_texts(const Answer& gold, const Answer& answer) {
  if (gold.key() == answer.key()) return {Outcome::kEqual, true, "text"};
  for (const Answer* a : {&gold, &answer}) {
    // What was not read to its end may mean anything.
    if (a->parsed.over_limit()) return {Outcome::kUndecided, false, a->parsed.why};
  }
  return {Outcome::kDifferent, false, "text"};
}

Finding compare(const Answer& gold, const Answer& answer, const CheckOptions& options) {
  if (gold.empty()) return {Outcome::kUndecided, false, "unreadable_gold"};
  if (answer.empty()) return {Outcome::kDifferent, false, "text"};
  if (gold.choice && answer.choice && (gold.choice_alone || answer.choice_alone))
    return {gold.choice == answer.choice ? Outcome::kEqual : Outcome::kDifferent, true, "choice"};

  Budget budget(kOperations);
  // "(C) 12" for the gold 12 and back.
  if (bool(gold.choice) != bool(answer.choice)) {
    const Answer& lettered = gold.choice ? gold : answer;
    const Answer& other = gold.choice ? answer : gold;
    if (!lettered.choice_alone && lettered.content.ok() && other.parsed.ok()) {
      return gold.choice ? compare_shapes(gold.content.tree, answer.parsed.tree, options, budget)
                         : compare_shapes(gold.parsed.tree, answer.content.tree, options, budget);
    }
  }
  if (!gold.parsed.ok() || !answer.parsed.ok() || gold.word || answer.word) return compare_texts(gold, answer);
  const Finding f = compare_shapes(gold.parsed.tree, answer.parsed.tree, options, budget);
  if (f.outcome == Outcome::kUndecided && gold.key() == answer.key()) return {Outcome::kEqual, true, "text"};
  return f;
}

}  // namespace

Verdict check(const Answer& gold, const Answer& answer, const CheckOptions& options) {
  const Finding f = compare(gold, answer, options);
  return {f.outcome, f.proved, to_string(gold), to_string(answer), f.reason};
}

Answer read_extracted(const ExtractedAnswer& found, const CheckOptions& options) {
  Answer last = read_answer(found.text);
  if (found.beside.empty()) return last;
  constexpr std::size_t kMaxCompared = 16;
  const bool one = found.beside.size() <= kMaxCompared &&
                   std::all_of(found.beside.begin(), found.beside.end() - 1, [&](std::string_view box) {
                     return check(last, read_answer(box), options).outcome == Outcome::kEqual;
                   });
  if (one) return last;
  std::string joined;
  for (const std::string_view box : found.beside) {
    if (!joined.empty()) joined += ", ";
    joined += box;
    if (joined.size() > kMaxAnswerBytes) break;  // unreadable in any case
  }
  return read_answer(joined);
}

std::optional<Answer> read_gold(std::string_view reference) {
  const std::string plain = plain_forms(reference);
  ExtractedAnswer gold = extract_answer(plain, AnswerSource::kHash);
  if (!gold.found) gold = extract_answer(plain, AnswerSource::kBoxed);
  if (!gold.found) gold = extract_answer(plain, AnswerSource::kWhole);
  if (!gold.found) return std::nullopt;
  Answer out = read_extracted(gold);
  if (out.empty()) return std::nullopt;
  return out;
}

Verdict check(std::string_view gold, std::string_view answer, const CheckOptions& options) {
  return check(read_answer(plain_forms(gold)), read_answer(plain_forms(answer)), options);
}

}  // namespace r1::math
