// Writing JSON by hand, for logs and metrics. Reading is nlohmann's, in .cpp files.
#pragma once

#include <string>
#include <string_view>

namespace r1 {

// The text in quotes, escaped; bytes that are not UTF-8 become U+FFFD.
std::string json_quote(std::string_view text);
// The shortest text that reads back as the same number; NaN and infinities, which JSON lacks, become null.
std::string json_number(double value);
std::string json_number(float value);

// Length in bytes of the UTF-8 character at the start of `text`, 0 if those bytes are none (overlong forms, surrogates
// and values over U+10FFFF are none). `text` must not be empty.
int utf8_length(std::string_view text);

}  // namespace r1
