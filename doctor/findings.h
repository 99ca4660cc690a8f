// What an examination found: each finding has a level, a short name to search for, a sentence, and the remedy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace r1::doctor {

// kGood: as it should be. kNote: worth knowing. kWarning: probably not meant. kError: the run would fail, or learn nothing or something else.
enum class Level : std::uint8_t { kGood, kNote, kWarning, kError };
const char* to_string(Level);  // "ok", "note", "warning", "error"

struct Finding {
  Level level = Level::kGood;
  std::string section;  // "machine", "recipe", "data", "template", "stop", "rewards", "start model"
  std::string name;     // of the check: "gold-unreadable", ...
  std::string text;     // may have several lines
  std::string remedy;   // empty where nothing is to be done
};

// Findings in the order of the examination. Not thread-safe.
class Findings {
 public:
  void section(std::string name) { section_ = std::move(name); }
  void add(Level level, std::string name, std::string text, std::string remedy = {}) {
    list_.push_back({level, section_, std::move(name), std::move(text), std::move(remedy)});
  }
  void good(std::string name, std::string text) { add(Level::kGood, std::move(name), std::move(text)); }
  void note(std::string name, std::string text, std::string remedy = {}) { add(Level::kNote, std::move(name), std::move(text), std::move(remedy)); }
  void warning(std::string name, std::string text, std::string remedy) { add(Level::kWarning, std::move(name), std::move(text), std::move(remedy)); }
  void error(std::string name, std::string text, std::string remedy) { add(Level::kError, std::move(name), std::move(text), std::move(remedy)); }

  const std::vector<Finding>& list() const { return list_; }
  std::size_t count(Level level) const;
  const Finding* find(const std::string& name) const;  // the first of that name; null if there is none

  // For people: a heading a section, a line a finding, its remedy below it. `colour`: with terminal colours. From `first` on.
  std::string text(bool colour, std::size_t first = 0) const;
  std::string json() const;  // one object: {"errors", "warnings", "findings": [{"section", "level", "name", "text", "remedy"}]}

 private:
  std::string section_;
  std::vector<Finding> list_;
};

}  // namespace r1::doctor
