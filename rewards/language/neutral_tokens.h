// Single words of Latin letters that belong to no language.
#pragma once

#include <string_view>

namespace r1 {

// `token` is a run of ASCII characters without white space, its punctuation at both ends cut off; `call`: "(" follows.
bool neutral_token(std::string_view token, bool call);

}  // namespace r1
