#include "rewards/completion_text.h"
#include "rewards/math/check.h"
#include "tests/fuzz/targets.h"

namespace r1::fuzz {
namespace {

using math::Outcome, math::Verdict;

bool same(const Verdict& a, const Verdict& b) {
  return a.outcome == b.outcome && a.proved == b.proved && a.gold_read == b.gold_read && a.answer_read == b.answer_read &&
         a.reason == b.reason;
}

}  // namespace

void math(std::string_view bytes) {
  const std::size_t cut = bytes.find('\n');
  const std::string_view left = bytes.substr(0, cut), right = cut == bytes.npos ? left : bytes.substr(cut + 1);
  const auto gold = math::read_gold(left);
  const math::Answer answer = math::read_answer(plain_forms(right));
  if (!gold) return;
  math::CheckOptions loose;
  loose.relation_answers = loose.bases_by_value = true;
  loose.percent = math::PercentRule::kEither;
  loose.units = math::UnitRule::kIgnore;
  const Verdict v = math::check(*gold, answer);
  R1_FUZZ_CHECK(same(v, math::check(*gold, answer)));  // equal input, equal verdict
  R1_FUZZ_CHECK(!v.reason.empty());
  (void)math::check(*gold, answer, loose);
  math::CheckOptions strict;
  strict.strict_shapes = true;
  strict.rounding_digits = 0;
  strict.units = math::UnitRule::kRequire;
  (void)math::check(*gold, answer, strict);
}

}  // namespace r1::fuzz
