// Where time and memory went.
#include <algorithm>
#include <array>

#include "core/error.h"
#include "core/format.h"
#include "report/cost.h"
#include "report/html.h"
#include "report/sections.h"
#include "report/svg_chart.h"

namespace r1::report {
namespace {

const char* in_words(const std::string& phase) {
  if (phase == "gen") return "generate";
  if (phase == "update_actor") return "update";
  return phase.c_str();
}

// A phase has one colour on the whole page, whatever its share. Phases that this program does not write share the last one.
int colour_of(const std::string& phase) {
  constexpr std::array kPhases = {"generate", "update", "evaluate", "reward", "prepare", "other"};
  const auto at = std::find(kPhases.begin(), kPhases.end(), phase);
  return at == kPhases.end() ? 7 : static_cast<int>(at - kPhases.begin());
}

}  // namespace

std::vector<StepPhases> phases_by_step(const RunData& run) {
  std::map<std::int64_t, std::map<std::string, double>> seconds;
  for (const MetricRow& row : run.metrics)
    for (const auto& [name, value] : row.values) {
      // reward_cpu is processor time of several threads, not a part of the step's.
      if (name.starts_with("timing_s/") && name != "timing_s/reward_cpu") seconds[row.step][name.substr(9)] = value;
      if (name == "eval/seconds") seconds[row.step]["evaluate"] = value;
    }
  std::vector<StepPhases> steps;
  for (auto& [step, phases] : seconds) {
    StepPhases out{step, {}};
    double known = 0;
    for (const auto& [phase, s] : phases)
      if (phase != "step") out.seconds[in_words(phase)] = std::max(0.0, s), known += phase == "evaluate" ? 0 : std::max(0.0, s);
    if (const auto whole = phases.find("step"); whole != phases.end()) out.seconds["other"] = std::max(0.0, whole->second - known);
    steps.push_back(std::move(out));
  }
  return steps;
}

std::string cost_section(std::span<const RunData> runs) {
  std::string charts;
  HtmlTable table("Time by phase and peak memory", {"run", "phases", "sum", "peak memory", "tokens a second, median"});
  int next = 0;
  for (const RunData& run : runs) {
    const auto steps = phases_by_step(run);
    if (steps.empty()) continue;
    std::map<std::string, double> totals;
    for (const StepPhases& s : steps)
      for (const auto& [phase, seconds] : s.seconds) totals[phase] += seconds;
    double all = 0;
    StackedBars chart{"Time by phase", "s", run.name, {}, {}, {}};
    for (const auto& [phase, seconds] : totals) all += seconds, chart.layers.push_back(phase);
    std::sort(chart.layers.begin(), chart.layers.end(), [&](const auto& a, const auto& b) { return totals[a] > totals[b]; });
    for (const std::string& phase : chart.layers) chart.colours.push_back(colour_of(phase));
    std::string shares;
    for (const std::string& phase : chart.layers)
      shares += message(shares.empty() ? "" : ", ", escape(phase), " ", human_duration(totals[phase]), " (", percent(all > 0 ? totals[phase] / all
          : 0, 0), ")");
    for (const StepPhases& s : steps) {
      std::vector<double> values;
      for (const std::string& phase : chart.layers) values.push_back(s.seconds.contains(phase) ? s.seconds.at(phase) : 0);
      chart.bars.emplace_back(static_cast<double>(s.step), std::move(values));
    }
    charts += stacked_chart(chart, message("phases", next++));
    double peak = 0;
    for (const Point& p : line_of(run, "memory/peak_gb")) peak = std::max(peak, p.value);
    std::vector<double> speed;
    for (const Point& p : line_of(run, "perf/throughput")) speed.push_back(p.value);
    std::nth_element(speed.begin(), speed.begin() + static_cast<std::ptrdiff_t>(speed.size() / 2), speed.end());
    table.add_row({escape(run.name), shares, human_duration(all), peak > 0 ? human_number(peak, 3) + " GiB" : "",
                   speed.empty() ? "" : human_count(speed[speed.size() / 2])});
  }
  Chart memory{"Peak memory", "GiB", "of the process so far", {}};
  int colour = 0;
  for (const RunData& run : runs)
    if (Line line = line_of(run, "memory/peak_gb"); !line.empty())
      memory.lines.push_back({run.name, colour++ % 8, 0, ChartLine::Weight::kNormal, std::move(line), {}, {}});
  charts += line_chart(memory, "memory");
  if (charts.empty()) return {};
  return section("cost", "Time and memory", (table.empty() ? std::string() : table.str()) + "<div class=\"grid\">" + charts + "</div>\n");
}

}  // namespace r1::report
