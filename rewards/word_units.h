// A text as the units people count: words between spaces, and in scripts without spaces the words of ICU's dictionaries.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace r1 {

// One hash a unit, in order; equal but for letter case gives equal hashes. A unit is a run without white space; words of
// Han, kana, Thai, Lao, Khmer and Burmese inside it are units of their own, and so is what stands between them.
// Invalid UTF-8 is kept byte by byte. Linear time.
std::vector<std::uint64_t> word_units(std::string_view utf8);

}  // namespace r1
