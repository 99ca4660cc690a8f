#include <algorithm>
#include <map>

#include "core/config.h"

namespace r1 {
namespace {

using Kind = ConfigValue::Kind;

// Lists of single values are one line each; lists of sections and sections are walked.
void flatten(const ConfigValue& value, const std::string& path, std::vector<ResolvedConfig::Line>& lines) {
  const auto below = [&](const std::string& part) { return path.empty() ? part : path + "." + part; };
  const auto nested = [](const ConfigValue& v) { return v.kind == Kind::kMap || v.kind == Kind::kList; };
  if (value.kind == Kind::kMap && !value.entries.empty()) {
    for (const auto& [key, child] : value.entries) flatten(child, below(key), lines);
  } else if (value.kind == Kind::kList && std::any_of(value.items.begin(), value.items.end(), nested)) {
    for (std::size_t i = 0; i < value.items.size(); ++i) flatten(value.items[i], below(std::to_string(i)), lines);
  } else {
    lines.push_back({path, write_inline(value), value.origin});
  }
}

bool ignored(const std::string& key, std::span<const std::string> prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(), [&](const std::string& prefix) {
    return key == prefix || (key.size() > prefix.size() && key.compare(0, prefix.size(), prefix) == 0 && key[prefix.size()] == '.');
  });
}

std::map<std::string, std::string> sorted(const ResolvedConfig& config, std::span<const std::string> ignore) {
  std::map<std::string, std::string> values;
  for (auto& line : config.lines()) {
    // Absent and null mean the same.
    if (!ignored(line.key, ignore) && line.value != "null") values.emplace(std::move(line.key), std::move(line.value));
  }
  return values;
}

}  // namespace

std::string ResolvedConfig::to_yaml(bool origin_comments) const { return write_yaml(root_, origin_comments); }

std::vector<ResolvedConfig::Line> ResolvedConfig::lines() const {
  std::vector<Line> lines;
  flatten(root_, "", lines);
  return lines;
}

Digest ResolvedConfig::digest(std::span<const std::string> ignore) const {
  Hasher hasher;
  for (const auto& [key, value] : sorted(*this, ignore)) {
    hasher.update_field(key);
    hasher.update_field(value);
  }
  return hasher.digest();
}

std::vector<std::string> ResolvedConfig::differences(const ResolvedConfig& other, std::span<const std::string> ignore) const {
  auto mine = sorted(*this, ignore), theirs = sorted(other, ignore);
  std::vector<std::string> lines;
  for (const auto& [key, value] : mine) {
    const auto it = theirs.find(key);
    const std::string theirs_text = it == theirs.end() ? "(not set)" : it->second;
    if (value != theirs_text) lines.push_back(key + ": " + value + " -> " + theirs_text);
    if (it != theirs.end()) theirs.erase(it);
  }
  for (const auto& [key, value] : theirs) lines.push_back(key + ": (not set) -> " + value);
  return lines;
}

}  // namespace r1
