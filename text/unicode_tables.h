// Character tables as the `tokenizers` package has them; see tests/golden/make_unicode_tables.py, which makes the .cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace r1::unicode_tables {

struct Range {
  std::uint32_t first, last;
};
struct CaseRule {  // code points first, first + stride, ..., last; lower case = code point + difference
  std::uint32_t first, last, stride;
  std::int32_t difference;
};

extern const std::span<const std::uint32_t> kCategoryRuns;
extern const std::span<const std::uint32_t> kNumericExtra;
extern const std::span<const Range> kWhiteSpace;
extern const std::span<const Range> kWordExtra;
extern const std::span<const Range> kWordNoOnig;
extern const std::span<const Range> kScriptHan;
extern const std::span<const Range> kScriptHiragana;
extern const std::span<const Range> kScriptKatakana;
extern const std::span<const Range> kScriptHangul;
extern const std::span<const CaseRule> kLower;

}  // namespace r1::unicode_tables
