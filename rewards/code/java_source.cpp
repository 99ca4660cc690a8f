#include "rewards/code/java_source.h"

#include <cctype>

namespace r1::code {
namespace {

bool is_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$' || (c & 0x80); }

// The next word or sign; empty at the end. What is not code is skipped.
std::string_view next_token(std::string_view source, std::size_t& at) {
  while (at < source.size()) {
    const std::string_view rest = source.substr(at);
    if (std::isspace(static_cast<unsigned char>(rest[0]))) {
      ++at;
    } else if (rest.substr(0, 2) == "//") {
      at = std::min(source.find('\n', at), source.size());
    } else if (rest.substr(0, 2) == "/*") {
      const std::size_t end = source.find("*/", at + 2);
      at = end == source.npos ? source.size() : end + 2;
    } else if (rest.substr(0, 3) == "\"\"\"") {
      const std::size_t end = source.find("\"\"\"", at + 3);
      at = end == source.npos ? source.size() : end + 3;
    } else if (rest[0] == '"' || rest[0] == '\'') {
      for (++at; at < source.size() && source[at] != rest[0] && source[at] != '\n'; ++at)
        if (source[at] == '\\') ++at;
      ++at;
    } else {
      const std::size_t begin = at++;
      if (is_name(source[begin]))
        while (at < source.size() && is_name(source[at])) ++at;
      return source.substr(begin, at - begin);
    }
  }
  return {};
}

}  // namespace

JavaClasses java_classes(std::string_view source) {
  std::string package, first, open, shown, starts;
  bool is_public = false, is_static = false;
  int depth = 0;
  std::string_view before;
  for (std::size_t at = 0;;) {
    std::string_view t = next_token(source, at);
    if (t.empty()) break;
    if (t == "{") ++depth;
    if (t == "}") --depth;
    if (depth == 0) {
      if (t == "public") is_public = true;
      if (t == ";" || t == "}") is_public = false;
      if (t == "package" && package.empty()) {
        for (t = next_token(source, at); !t.empty() && t != ";" && (t == "." || is_name(t[0])); t = next_token(source, at)) package += t;
        package += '.';
      }
      if ((before == "class" || before == "interface" || before == "enum" || before == "record") && is_name(t[0])) {
        open = t;
        if (first.empty()) first = open;
        if (is_public && shown.empty()) shown = open;
      }
    } else if (depth == 1) {
      if (t == "static") is_static = true;
      if (t == ";" || t == "}" || t == "{") is_static = false;
      if (t == "(" && before == "main" && is_static && starts.empty()) starts = open;
    }
    before = t;
  }
  JavaClasses found;
  if (!first.empty()) found.file = found.main = first;
  if (!starts.empty()) found.file = found.main = starts;
  if (!shown.empty()) found.file = shown;
  if (starts.empty()) found.main = found.file;
  found.main = package + found.main;
  return found;
}

}  // namespace r1::code
