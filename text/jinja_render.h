// Runs a parsed template.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja_ast.h"

namespace r1::jinja {

// Bytes [first, second) of the output that a {% generation %} block wrote.
using Spans = std::vector<std::pair<std::size_t, std::size_t>>;

// `variables` are what the template sees by name. Throws DataError with line and column of `source`. `generated` (may be null) gets
// the spans of blocks that write straight to the output; those inside macros or captured text are not known.
std::string render(const Body& body, std::string_view source, const Dict& variables, Spans* generated = nullptr);

}  // namespace r1::jinja
