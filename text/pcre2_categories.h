// What the installed PCRE2 takes each general category for; its Unicode version is not ours.
#pragma once

#include <array>

#include "text/code_set.h"

namespace r1 {

// Index = unicode::Category; Cs is left empty. Asked of the library once (some 0.1 s), then kept. Thread-safe.
const std::array<CodeSet, 30>& pcre2_categories();

}  // namespace r1
