#include "core/error.h"

#include <string_view>

namespace r1::detail {

void check_failed(const char* file, int line, const char* condition, const std::string& text) {
  // Folder and file are enough to find the place; the rest of the path is the build machine's.
  std::string_view path(file);
  if (const auto slash = path.rfind('/'); slash != std::string_view::npos) {
    const auto folder = path.rfind('/', slash - 1);
    if (folder != std::string_view::npos) path.remove_prefix(folder + 1);
  }
  throw Error(message(text, " [bug in r1, please report: ", path, ":", line, ": check failed: ", condition, "]"));
}

}  // namespace r1::detail
