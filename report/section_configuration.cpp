// How the runs were made: settings with their origin, differences between runs, digests, machines.
#include <algorithm>
#include <set>

#include "core/error.h"
#include "core/format.h"
#include "report/html.h"
#include "report/sections.h"

namespace r1::report {
namespace {

std::string settings(const RunData& run) {
  HtmlTable table(message("Configuration of ", run.name, ", resolved"), {"key", "value", "set by"});
  for (const ConfigLine& line : run.config) table.add_row({escape(line.key), "<code>" + escape(line.value) + "</code>", escape(line.origin)});
  return table.empty() ? std::string() : fold(message(escape(run.name), ": ", run.config.size(), " settings"), table.str());
}

// Keys whose value is not the same in all runs.
std::string differences(std::span<const RunData> runs) {
  std::vector<std::string> header = {"key"}, keys;
  std::vector<std::map<std::string, std::string>> values;
  std::set<std::string> seen;
  for (const RunData& run : runs) {
    if (run.config.empty()) continue;
    header.push_back(escape(run.name));
    auto& mine = values.emplace_back();
    for (const ConfigLine& line : run.config) {
      mine[line.key] = line.value;
      if (seen.insert(line.key).second) keys.push_back(line.key);
    }
  }
  HtmlTable table("Settings that differ", header);
  for (const std::string& key : keys) {
    const auto value = [&](const auto& of) { const auto it = of.find(key); return it == of.end() ? std::string() : it->second; };
    if (std::all_of(values.begin(), values.end(), [&](const auto& of) { return value(of) == value(values.front()); })) continue;
    std::vector<std::string> row = {escape(key)};
    for (const auto& of : values) row.push_back(value(of).empty() ? "<span class=\"note\">not set</span>" : "<code>" + escape(value(of)) + "</code>");
    table.add_row(std::move(row));
  }
  return table.empty() || values.size() < 2 ? std::string() : table.str();
}

std::string digests(std::span<const RunData> runs) {
  HtmlTable table("Digests (XXH3, 128 bits)", {"run", "what", "digest", "bytes", "state"});
  for (const RunData& run : runs) {
    if (!run.config_digest.empty()) table.add_row({escape(run.name), "configuration", "<code>" + run.config_digest + "</code>", "", ""});
    if (run.stage) {
      table.add_row({escape(run.name), "stage key", "<code>" + escape(run.stage->key) + "</code>", "", ""});
      table.add_row({escape(run.name), "stage output", "<code>" + escape(run.stage->output) + "</code>", "", ""});
    }
    for (const CheckpointInfo& c : run.checkpoints)
      table.add_row({escape(run.name), escape(c.name), c.digest.empty() ? "" : "<code>" + escape(c.digest) + "</code>", c.bytes ? human_bytes(c.bytes)
          : "",
                     c.problem.empty() ? "complete by size" : escape("incomplete: " + c.problem)});
  }
  return table.empty() ? std::string() : table.str();
}

std::string environment(std::span<const RunData> runs) {
  std::string out;
  for (const RunData& run : runs) {
    std::vector<std::string> header = {"fact"};
    std::set<std::string> keys;
    for (std::size_t i = 0; i < run.starts.size(); ++i) {
      header.push_back(message("start ", i + 1));
      for (const auto& [key, value] : run.starts[i]) keys.insert(key);
    }
    HtmlTable table(message("Environment of ", run.name), header);
    for (const std::string& key : keys) {
      std::vector<std::string> row = {escape(key)};
      for (const auto& start : run.starts) {
        const auto it = start.find(key);
        row.push_back(it == start.end() ? "" : "<code>" + escape(it->second) + "</code>");
      }
      table.add_row(std::move(row));
    }
    if (!table.empty()) out += fold(message("Environment of ", escape(run.name), ", ", run.starts.size(), run.starts.size() == 1 ? " start"
        : " starts"), table.str());
  }
  return out;
}

}  // namespace

std::string configuration_section(std::span<const RunData> runs, std::span<const RunGroup> groups) {
  std::string out = differences(runs);
  for (const RunGroup& group : groups) {  // seeds share their settings
    if (group.runs.size() > 1)
      out += message("<p>", escape(group.name), " have the same configuration but for seed and output; that of ", escape(group.runs.front()->name),
          " is shown.</p>\n");
    out += settings(*group.runs.front());
  }
  return section("configuration", "Configuration and environment", out + digests(runs) + environment(runs));
}

}  // namespace r1::report
