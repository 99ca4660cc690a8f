#include "rewards/answer_extract.h"
#include "rewards/answer_text.h"
#include "rewards/code/extract_program.h"
#include "rewards/completion_text.h"
#include "tests/fuzz/targets.h"

namespace r1::fuzz {

void extract(std::string_view bytes) {
  for (const bool opened : {false, true}) {
    const AnswerRegion region = after_think(bytes, opened);
    R1_FUZZ_CHECK(inside(region.text, bytes));
    R1_FUZZ_CHECK(region.closed || region.text.empty());
  }
  R1_FUZZ_CHECK(inside(last_answer_tag(bytes).text, bytes));
  const std::string plain = plain_forms(bytes);
  for (const AnswerSource source : {AnswerSource::kAuto, AnswerSource::kBoxed, AnswerSource::kTag, AnswerSource::kHash,
                                    AnswerSource::kPhrase, AnswerSource::kLastNumber, AnswerSource::kWhole}) {
    const ExtractedAnswer found = extract_answer(plain, source);
    R1_FUZZ_CHECK(found.found || found.text.empty());
    R1_FUZZ_CHECK(found.found || !found.why_not.empty());
    R1_FUZZ_CHECK(inside(found.text, plain));
    for (const std::string_view other : found.others) R1_FUZZ_CHECK(inside(other, plain));
    for (const std::string_view other : found.beside) R1_FUZZ_CHECK(inside(other, plain));
    if (source == AnswerSource::kAuto) (void)text_key(clean_answer(found.text));
  }
  for (const CleanAnswer& clean = clean_answer_spans(plain); const auto& [begin, end] : clean.upright)
    R1_FUZZ_CHECK(begin <= end && end <= clean.text.size());
  for (const char* const wanted : {"", "python", "cpp"}) {
    const code::Extracted program = code::extract_program(bytes, wanted);
    R1_FUZZ_CHECK(program.found || program.program.empty());
    R1_FUZZ_CHECK(program.program.size() <= bytes.size());
  }
}

}  // namespace r1::fuzz
