// Special judges as JSON, the form of data columns and requests.
#pragma once

#include <string>

#include "rewards/code/judge.h"

namespace r1::code {

// A checker's program as a text (Python), or {"program", "language", "verdict": "exit" | "printed", "files": {name: text},
// "limits"}; `json` may also be such a program as it stands, without quotes. Throws DataError that names the key.
Checker checker_from_json(const std::string& json);

}  // namespace r1::code
