// What recipes may say, asked of the readers themselves: while a recorder lives, every key that a ConfigReader on this thread asks for
// or turns away is noted. The recipe reference of the documentation is written from that, so that it cannot lag behind.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace r1 {

struct ConfigQuestion {
  std::string type;               // "text", "number", "whole number", "true or false", "list of text", "section", "list of sections"
  std::string fallback;           // as written in YAML; empty = none
  std::string range, choices;     // "0 to 1", "at least 1"; "a, b, c"
  bool required = false;
  std::vector<std::string> without;  // why a reader turned it away: where it has no effect
};

// By dotted path; numbers of a list's items are "[]": "rewards[].weight". One recorder at a time a thread.
class ConfigRecorder {
 public:
  ConfigRecorder();
  ~ConfigRecorder();
  ConfigRecorder(const ConfigRecorder&) = delete;
  ConfigRecorder& operator=(const ConfigRecorder&) = delete;

  static ConfigRecorder* current();  // null where nobody records
  ConfigQuestion& at(std::string_view path);
  const std::map<std::string, ConfigQuestion>& questions() const { return questions_; }
  void clear() { questions_.clear(); }

 private:
  std::map<std::string, ConfigQuestion> questions_;
};

}  // namespace r1
