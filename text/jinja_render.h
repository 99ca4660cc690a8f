// Runs a parsed template.
#pragma once

#include <string>
#include <string_view>

#include "text/jinja_ast.h"

namespace r1::jinja {

// `variables` are what the template sees by name. Throws DataError with line and column of `source`.
std::string render(const Body& body, std::string_view source, const Dict& variables);

}  // namespace r1::jinja
