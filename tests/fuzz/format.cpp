#include "rewards/format.h"

#include <cmath>

#include "tests/fuzz/targets.h"

namespace r1::fuzz {
namespace {

bool whole_quarters(float value) { return value >= 0 && value <= 1 && value * 4 == std::floor(value * 4); }

}  // namespace

void format(std::string_view bytes) {
  if (bytes.empty()) return;
  const unsigned bits = static_cast<unsigned char>(bytes[0]);
  const std::string_view text = bytes.substr(1);
  FormatOptions o;
  o.answer_tag = !(bits & 1);
  o.code_spans = !(bits & 2);
  o.stop_closes_answer = o.answer_tag && (bits & 4);
  const bool opened = bits & 8;
  const StopReason stop = bits & 16 ? StopReason::kStop : StopReason::kEos;
  const FormatVerdict all = check_format(text, opened, stop, o);
  o.partial = true;
  const FormatVerdict steps = check_format(text, opened, stop, o);
  const bool ok = std::string_view(all.why) == "ok";
  R1_FUZZ_CHECK(all.value == (ok ? 1.f : 0.f));
  R1_FUZZ_CHECK(whole_quarters(steps.value));
  R1_FUZZ_CHECK(steps.value == 1.f ? ok : std::string_view(steps.why) == all.why);
  R1_FUZZ_CHECK(check_format(text, opened, StopReason::kLength, o).value == 0.f);
  R1_FUZZ_CHECK(whole_quarters(count_tags(text, opened)));
}

}  // namespace r1::fuzz
