// A limit on nesting, for JSON from outside: the library that reads it copies, writes and compares by recursion.
#pragma once

#include <string_view>

namespace r1 {

inline constexpr int kMaxJsonDepth = 100;

// Throws DataError if brackets outside of texts are nested deeper than kMaxJsonDepth. Linear; the text need be no JSON.
void check_json_depth(std::string_view json);

}  // namespace r1
