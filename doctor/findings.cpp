#include "doctor/findings.h"

#include <algorithm>

#include "core/error.h"
#include "core/json_text.h"

namespace r1::doctor {
namespace {

const char* colour_of(Level level) {
  switch (level) {
    case Level::kGood: return "32";
    case Level::kNote: return "36";
    case Level::kWarning: return "33";
    default: return "31";
  }
}

std::string indented(const std::string& text, const std::string& space) {
  std::string out;
  for (const char c : text) out += c == '\n' ? "\n" + space : std::string(1, c);
  return out;
}

}  // namespace

const char* to_string(Level level) {
  constexpr const char* kNames[] = {"ok", "note", "warning", "error"};
  return kNames[static_cast<int>(level)];
}

std::size_t Findings::count(Level level) const {
  return static_cast<std::size_t>(std::count_if(list_.begin(), list_.end(), [&](const Finding& f) { return f.level == level; }));
}

const Finding* Findings::find(const std::string& name) const {
  const auto it = std::find_if(list_.begin(), list_.end(), [&](const Finding& f) { return f.name == name; });
  return it == list_.end() ? nullptr : &*it;
}

std::string Findings::text(bool colour, std::size_t first) const {
  const std::string space(12, ' ');
  std::string out;
  for (std::size_t i = first; i < list_.size(); ++i) {
    const Finding& f = list_[i];
    if (i == 0 || list_[i - 1].section != f.section) out += f.section + "\n";
    std::string level = to_string(f.level);
    level.resize(9, ' ');
    out += "  " + (colour ? message("\x1b[", colour_of(f.level), "m", level, "\x1b[0m") : level) + " " + f.name + ": " + indented(f.text, space) + "\n";
    if (!f.remedy.empty()) out += space + "-> " + indented(f.remedy, space) + "\n";
  }
  return out;
}

std::string Findings::json() const {
  std::string out = message("{\"errors\": ", count(Level::kError), ", \"warnings\": ", count(Level::kWarning), ", \"findings\": [");
  for (std::size_t i = 0; i < list_.size(); ++i) {
    const Finding& f = list_[i];
    out += message(i ? ",\n " : "\n ", "{\"section\": ", json_quote(f.section), ", \"level\": ", json_quote(to_string(f.level)), ", \"name\": ",
                   json_quote(f.name), ", \"text\": ", json_quote(f.text), ", \"remedy\": ", json_quote(f.remedy), "}");
  }
  return out + "]}\n";
}

}  // namespace r1::doctor
