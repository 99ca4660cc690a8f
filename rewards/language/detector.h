// Which language is a piece of text in? For languages that share a script. CLD2 where it was found at build time; its
// tables are inside its library, so no model file is looked for at run time.
#pragma once

#include <string>
#include <string_view>

namespace r1 {

bool detector_built_in();
std::string_view detector_name();  // "cld2", or "none"

// The ISO 639 code of the language, empty if the text is too short or too mixed to say. `text` is valid UTF-8 without
// markup. Thread-safe; equal text gives an equal answer. Always empty without a detector.
std::string detect_language(std::string_view text);

}  // namespace r1
