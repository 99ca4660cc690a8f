// What the verifiers said, and where the audit's second checker disagreed.
#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/format.h"
#include "report/html.h"
#include "report/sections.h"
#include "report/svg_chart.h"

namespace r1::report {
namespace {

constexpr std::size_t kDisagreements = 30;

int colour_of(const std::string& verdict) {
  static const std::map<std::string, int> colours = {{"ok", 2}, {"wrong", 1}, {"unparsed", 0}, {"timeout", 4}, {"error", 3}, {"abstain", 7}};
  const auto it = colours.find(verdict);
  return it == colours.end() ? 5 : it->second;
}

// Shares of "verdict/NAME/VERDICT" over the steps of a run, a chart a reward.
std::string verdict_charts(const RunData& run, const std::string& id) {
  std::map<std::string, std::map<std::string, std::string>> metrics;  // reward -> verdict -> metric
  for (const MetricRow& row : run.metrics)
    for (const auto& [name, value] : row.values) {
      if (!name.starts_with("verdict/")) continue;
      const std::size_t at = name.rfind('/');
      if (at > 8) metrics[name.substr(8, at - 8)][name.substr(at + 1)] = name;
    }
  std::string out;
  int next = 0;
  for (const auto& [reward, verdicts] : metrics) {
    // A step at which a verdict did not occur has no record of it: that is a share of 0.
    std::map<double, double> sums;
    std::map<std::string, std::map<double, double>> shares;
    for (const auto& [verdict, metric] : verdicts)
      for (const Point& p : line_of(run, metric)) sums[p.step] += p.value, shares[verdict][p.step] = p.value;
    StackedBars chart{"Verdicts: " + reward, "%", run.name + ", training completions", {}, {}, {}};
    for (const auto& [verdict, metric] : verdicts) chart.layers.push_back(verdict), chart.colours.push_back(colour_of(verdict));
    for (const auto& [step, sum] : sums) {
      std::vector<double> values;
      for (const std::string& verdict : chart.layers) values.push_back(shares[verdict].contains(step) ? shares[verdict][step] / std::max(1.0, sum)
          : 0);
      chart.bars.emplace_back(step, values);
    }
    out += stacked_chart(chart, message(id, next++));
  }
  return out;
}

std::string audit(const RunData& run) {
  const Line audited = line_of(run, "audit/completions");
  double n = 0, differing = 0;
  const Line disagreement = line_of(run, "audit/disagreement");
  std::map<double, double> share;
  for (const Point& p : disagreement) share[p.step] = p.value;
  for (const Point& p : audited) n += p.value, differing += p.value * (share.contains(p.step) ? share[p.step] : 0);
  std::string out;
  if (n > 0)
    out += message("<p>", escape(run.name), ": the audit's second checker had an opinion on ", human_number(n, 9),
        " completions and disagreed with the reward on ",
                   human_number(std::round(differing), 9), " (", percent(differing / n, 2), ").</p>\n");
  HtmlTable table(message(run.name, ": audit disagreements, newest first"), {"step", "kind", "prompt", "reference", "reward read", "audit read",
      "completion"});
  for (std::size_t i = run.disagreements.size(); i-- > 0 && run.disagreements.size() - i <= kDisagreements;) {
    const Disagreement& d = run.disagreements[i];
    table.add_row({std::to_string(d.step), d.kind == "false_positive" ? "paid, audit says wrong" : "not paid, audit says right",
        escape(cut_to_width(d.prompt, 200)),
                   escape(cut_to_width(d.reference, 80)), message(escape(d.reward_verdict), " <code>", escape(cut_to_width(d.reward_answer, 80)),
                       "</code>"),
                   message(escape(d.audit_verdict), " <code>", escape(cut_to_width(d.audit_answer, 80)), "</code> ", escape(d.audit_why)),
                   "<code>" + escape(cut_to_width(d.completion, 300)) + "</code>"});
  }
  if (!table.empty()) out += fold(message("Disagreements of ", escape(run.name), " (", run.disagreements.size(), ")"), table.str());
  return out;
}

}  // namespace

std::string verdicts_section(std::span<const RunData> runs) {
  std::string charts, audits;
  int next = 0;
  for (const RunData& run : runs) {
    charts += verdict_charts(run, message("verdicts", next++, "-"));
    audits += audit(run);
  }
  if (!charts.empty()) charts = "<div class=\"grid\">" + charts + "</div>\n";
  return section("verdicts", "Verifiers", charts + audits);
}

}  // namespace r1::report
