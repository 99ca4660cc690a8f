#include "rewards/json_depth.h"

#include "core/error.h"

namespace r1 {

void check_json_depth(std::string_view json) {
  int depth = 0;
  bool text = false;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (c == '"') text = !text;
    else if (text && c == '\\') ++i;
    else if (!text && (c == '[' || c == '{') && ++depth > kMaxJsonDepth)
      throw DataError(message("JSON is nested deeper than ", kMaxJsonDepth, " levels"));
    else if (!text && (c == ']' || c == '}')) --depth;
  }
}

}  // namespace r1
