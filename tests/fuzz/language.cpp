#include "rewards/language/language_reward.h"
#include "rewards/language/consistency.h"
#include "rewards/language/neutral_spans.h"
#include "tests/fuzz/targets.h"

namespace r1::fuzz {

void language(std::string_view bytes) {
  if (bytes.empty()) return;
  const unsigned bits = static_cast<unsigned char>(bytes[0]);
  const std::string_view text = bytes.substr(1);
  R1_FUZZ_CHECK(blank_neutral(text).size() == text.size());
  for (const LanguageRegion region : {LanguageRegion::kThink, LanguageRegion::kAnswer, LanguageRegion::kAll})
    R1_FUZZ_CHECK(inside(language_region(text, bits & 1, region), text));
  const auto known = languages();
  const Language& target = known[(bits >> 2) % known.size()];
  ConsistencyOptions o;
  o.use_detector = !(bits & 2);
  const Consistency c = language_consistency(text, target, o);
  R1_FUZZ_CHECK(c.score >= 0 && c.score <= 1);
  R1_FUZZ_CHECK(c.defined || c.score == 0);
  R1_FUZZ_CHECK(c.target_words + c.other_words + c.unsure_words <= text.size());
  std::size_t others = 0;
  for (const auto& [label, words] : c.others) others += words;
  R1_FUZZ_CHECK(others == c.other_words);
  (void)guess_language(text, o.use_detector);
}

}  // namespace r1::fuzz
