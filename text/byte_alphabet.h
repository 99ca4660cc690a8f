// GPT-2's printable stand-ins for bytes: byte 0x20 is written "Ġ", and so on.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace r1 {

// The character that stands for a byte.
char32_t byte_to_char(unsigned char byte);
// Every byte of `bytes` as its character, in UTF-8.
std::string to_byte_alphabet(std::string_view bytes);
// The bytes behind a text of such characters; nothing if one of its characters is no stand-in.
std::optional<std::string> from_byte_alphabet(std::string_view text);

}  // namespace r1
