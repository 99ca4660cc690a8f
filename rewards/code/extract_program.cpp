#include "rewards/code/extract_program.h"

#include <algorithm>

#include "rewards/code/toolchain.h"
#include "rewards/completion_text.h"

namespace r1::code {

Extracted extract_program(std::string_view text, std::string_view language) {
  Extracted tagged, bare;
  const std::string wanted = canonical_language(language);
  std::size_t fence = 0, body = 0;  // length of the open fence; where its content begins
  char mark = 0;
  std::string tag;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = trim(text.substr(at, end - at));
    std::size_t run = 0;
    while (run < line.size() && line[run] == line[0] && (line[0] == '`' || line[0] == '~')) ++run;
    const std::string_view rest = trim(line.substr(run));
    if (fence == 0 && run >= 3 && rest.find('`') == rest.npos) {
      fence = run;
      mark = line[0];
      body = std::min(end + 1, text.size());
      tag = rest.substr(0, rest.find_first_of(" \t{,:"));
    } else if (fence > 0 && run >= fence && line[0] == mark && rest.empty()) {
      const std::string known = canonical_language(tag);
      Extracted* into = tag.empty() ? &bare : !known.empty() && (wanted.empty() || known == wanted) ? &tagged : nullptr;
      if (into) *into = {std::string(text.substr(body, at - body)), tag.empty() ? wanted : known, true};
      fence = 0;
    }
    at = end + 1;
  }
  return tagged.found ? tagged : bare;
}

}  // namespace r1::code
