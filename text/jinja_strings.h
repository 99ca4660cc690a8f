// Python's string operations on UTF-8.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja_value.h"

namespace r1::jinja {

// str.split(sep, most) and rsplit; most < 0 = all.
std::vector<std::string> split_text(const std::string& s, const std::string& separator, std::int64_t most,
                                    bool from_right);
// str.split() without separator: runs of white space.
std::vector<std::string> split_space(const std::string& s, std::int64_t most, bool from_right);
std::vector<std::string> split_lines(const std::string& s, bool keep_ends);
// White space as Python's str.isspace: White_Space and the separators 0x1c to 0x1f.
std::string strip_space(const std::string& s, bool left, bool right);
std::string strip_characters(const std::string& s, const std::string& chars, bool left, bool right);
std::string replace_text(const std::string& s, const std::string& from, const std::string& to, std::int64_t most);
std::string upper_text(const std::string& s);
std::string lower_text(const std::string& s);
std::string capitalize_text(const std::string& s);
std::string title_text(const std::string& s);
// side: -1 = text to the right, 1 = to the left, 0 = centred.
std::string pad_text(const std::string& s, std::int64_t width, const std::string& fill, int side);
// str.format with {}, {0}, {name}; throws Failure for format specifications.
std::string format_text(const std::string& pattern, const Arguments& arguments);

enum class CharacterKind { kDigit, kNumeric, kAlpha, kAlnum, kSpace };
bool all_characters(const std::string& s, CharacterKind kind);  // false for an empty text

}  // namespace r1::jinja
