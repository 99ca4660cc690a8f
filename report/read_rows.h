// JSON lines that may be torn or damaged: for the .cpp files of the report only.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/files.h"

namespace r1::report {

inline std::string text_of(const nlohmann::json& j, const char* key) {
  const auto it = j.is_object() ? j.find(key) : j.end();
  return it != j.end() && it->is_string() ? it->get<std::string>() : std::string();
}

inline std::optional<double> number_of(const nlohmann::json& j, const char* key) {
  const auto it = j.is_object() ? j.find(key) : j.end();
  return it != j.end() && it->is_number() ? std::optional(it->get<double>()) : std::nullopt;
}

// Calls `add(row)` for each object. Damaged lines are counted, the first is named in `problems`, the others are kept.
// A missing file is a problem too.
template <class F>
void read_rows(const std::filesystem::path& file, std::vector<std::string>& problems, F&& add) {
  const std::string name = (file.parent_path().filename() / file.filename()).string();
  std::error_code none;
  if (!std::filesystem::exists(file, none)) {
    problems.push_back(name + " is missing");
    return;
  }
  const std::string text = read_file(file);
  std::size_t number = 0, bad = 0, first = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.empty()) continue;
    const auto j = nlohmann::json::parse(line, nullptr, false);
    bool good = j.is_object();
    if (good) {
      try {
        add(j);
      } catch (const nlohmann::json::exception&) {
        good = false;
      }
    }
    if (!good && ++bad == 1) first = number;
  }
  if (bad == 0) return;
  const bool torn = bad == 1 && first == number;
  problems.push_back(message(name, ": ", torn ? "the last line is torn (the run was stopped in it, or is writing)" : message(bad,
      " damaged line(s), the first is line ", first),
                             "; the other lines are shown"));
}

}  // namespace r1::report
