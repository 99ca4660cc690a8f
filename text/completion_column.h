// Completions that exist already, as data files hold them.
#pragma once

#include <string>
#include <vector>

#include "core/types.h"
#include "text/dataset.h"

namespace r1 {

struct RowCompletions {
  std::vector<Completion> completions;  // text and stop; no tokens
  bool list = false;                    // the column held a list: a group
  std::string column;                   // where they stood
};

// The completions of a row. `column` empty = the first that the row has of: completion, completions, response, responses,
// output, outputs, generation. A text; {"text" | "content", "stop" | "finish_reason"}; a list of messages (the last
// assistant turn counts); or a list of any of these. Without a stop reason (of its own, or for a text the row's) a
// completion counts as ended. Throws DataError naming file, line and remedy.
RowCompletions completions_in(const Row& row, std::string column);

}  // namespace r1
