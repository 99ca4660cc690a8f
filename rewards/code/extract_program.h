// The program inside a completion.
#pragma once

#include <string>
#include <string_view>

namespace r1::code {

struct Extracted {
  std::string program;
  std::string language;  // canonical name, or what was asked for when the fence has no tag
  bool found = false;
};

// The last closed fence (``` or ~~~) of the text whose tag names `language` (or an alias: py, python3, c++, ...); if no
// fence has such a tag, the last closed one without a tag. An open fence never counts: the completion was cut.
// `language` empty: any language the runner knows. `text` is what follows the reasoning. Linear.
Extracted extract_program(std::string_view text, std::string_view language);

}  // namespace r1::code
