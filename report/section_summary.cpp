// The table at the top: a row a run, or a stage of a pipeline as in Table 3 of the DeepSeek-R1 paper; and what was wrong.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "core/error.h"
#include "core/format.h"
#include "report/html.h"
#include "report/sections.h"
#include "report/text_signs.h"

namespace r1::report {
namespace {

std::string bound(const Point& p) {
  const std::string text = percent(p.value);
  return text.substr(0, text.size() - 2);  // without the sign, which the estimate has
}

std::string shown(const RunData& run, const std::string& metric, std::size_t at_end, bool share) {
  const Line line = line_of(run, metric);
  if (line.empty()) return {};
  const auto text = [&](double v) { return share ? percent(v) : human_number(v); };
  const double value = at_end ? line.back().value : line.front().value;
  const Line low = line_of(run, metric + "_low"), high = line_of(run, metric + "_high");
  if (low.size() != line.size() || high.size() != line.size()) return text(value);
  return message(text(value), " <span class=\"note\">[", bound(at_end ? low.back() : low.front()), ", ", bound(at_end ? high.back() : high.front()),
                 "]</span>");
}

// "first → last"; one number where there is one step.
std::string change(const RunData& run, const std::string& metric, bool share) {
  const std::string first = shown(run, metric, 0, share), last = shown(run, metric, 1, share);
  return line_of(run, metric).size() < 2 ? last : message(first, " → ", last);
}

std::string first_of(const RunData& run, std::initializer_list<const char*> metrics, bool share) {
  for (const char* metric : metrics)
    if (const std::string text = change(run, metric, share); !text.empty()) return text;
  return {};
}

double wall_seconds(const RunData& run) {
  double sum = 0;
  for (const char* metric : {"timing_s/step", "eval/seconds"})
    for (const Point& p : line_of(run, metric)) sum += p.value;
  return sum;
}

std::string reflective_at_end(const RunData& run) {
  const auto texts = texts_by_step(run);
  if (texts.empty()) return {};
  std::size_t n = 0;
  for (const SampleRow* s : texts.rbegin()->second)
    for (const auto& [word, count] : count_reflective(s->completion)) n += count;
  return human_number(static_cast<double>(n) / static_cast<double>(texts.rbegin()->second.size()), 3);
}

std::string mixed_at_end(const RunData& run) {
  const auto texts = texts_by_step(run);
  if (texts.empty()) return {};
  std::size_t n = 0;
  for (const SampleRow* s : texts.rbegin()->second) n += is_mixed(words_by_language(s->completion));
  return percent(static_cast<double>(n) / static_cast<double>(texts.rbegin()->second.size()), 0);
}

std::string state(const RunData& run) {
  if (run.finished) return "finished";
  if (run.metrics.empty() && run.kind == "eval") return "not finished";
  return run.metrics.empty() ? "no step yet" : "not finished";
}

// Stage x benchmark, as in Table 3 of the DeepSeek-R1 paper.
std::string benchmark_table(std::span<const RunData> runs) {
  std::vector<std::string> header = {"evaluation"}, columns;
  for (const RunData& run : runs)
    for (const BenchmarkScore& b : run.benchmarks)
      if (const std::string column = b.name + ", " + b.part; std::find(columns.begin(), columns.end(),
          column) == columns.end()) columns.push_back(column);
  for (const std::string& column : columns) header.push_back(escape(column));
  HtmlTable table("Benchmarks by stage: accuracy, 95 % intervals, items", header);
  for (const RunData& run : runs) {
    if (run.benchmarks.empty()) continue;
    std::string of;
    if (run.stage)
      for (const std::string& name : run.stage->needs) of += (of.empty() ? "" : ", ") + name;
    std::vector<std::string> row(columns.size() + 1);
    row[0] = escape(run.name) + (of.empty() ? "" : message(" <span class=\"note\">of ", escape(of), "</span>"));
    for (const BenchmarkScore& b : run.benchmarks) {
      const auto at = std::find(columns.begin(), columns.end(), b.name + ", " + b.part) - columns.begin();
      row[static_cast<std::size_t>(at) + 1] = message(percent(b.accuracy), " <span class=\"note\">[", bound({0, b.low}), ", ", bound({0, b.high}),
          "] of ",
                                                      with_commas(b.items), "</span>");
    }
    table.add_row(std::move(row));
  }
  return table.empty() ? std::string() : table.str();
}

// Several pipelines side by side: mean over them and every value, a row a stage, where the same stage was evaluated in at least two.
std::string benchmarks_over_pipelines(std::span<const RunData> runs) {
  std::vector<std::string> stages, columns;
  std::map<std::pair<std::string, std::string>, std::vector<double>> cells;
  std::set<std::string> pipelines;
  const auto add = [](std::vector<std::string>& list, const std::string& one) {
    if (std::find(list.begin(), list.end(), one) == list.end()) list.push_back(one);
  };
  for (const RunData& run : runs) {
    if (run.pipeline.empty()) continue;
    pipelines.insert(run.path.parent_path().parent_path().parent_path().string());
    const std::string stage = run.path.parent_path().filename().string();
    for (const BenchmarkScore& b : run.benchmarks) {
      add(stages, stage), add(columns, b.name + ", " + b.part);
      cells[{stage, b.name + ", " + b.part}].push_back(b.accuracy);
    }
  }
  if (pipelines.size() < 2) return {};
  std::vector<std::string> header = {"evaluation"};
  for (const std::string& column : columns) header.push_back(escape(column));
  HtmlTable table(message("Benchmarks by stage over ", pipelines.size(), " pipelines: mean, standard deviation (n - 1), and each"), header);
  for (const std::string& stage : stages) {
    std::vector<std::string> row = {escape(stage)};
    for (const std::string& column : columns) {
      const std::vector<double>& values = cells[{stage, column}];
      if (values.empty()) {
        row.emplace_back();
        continue;
      }
      double mean = 0;
      std::string each;
      for (const double v : values) mean += v / static_cast<double>(values.size()), each += (each.empty() ? "" : ", ") + bound({0, v});
      row.push_back(message(percent(mean), values.size() > 1 ? message(" ± ", bound({0, sample_deviation(values)})) : std::string(),
                            " <span class=\"note\">", each, "</span>"));
    }
    table.add_row(std::move(row));
  }
  return table.empty() ? std::string() : table.str();
}

// Mean and deviation over seeds of the last value.
std::string over_seeds(const RunGroup& group) {
  HtmlTable table(message(group.name, ": last values over ", group.runs.size(), " seeds"), {"metric", "mean", "standard deviation", "lowest",
      "highest", "seeds"});
  for (const auto& [metric, share] : {std::pair("eval/greedy/accuracy", true), {"eval/sampled/pass@1", true}, {"eval/accuracy", true}, {"accuracy",
      true},
                                      {"reward", false}, {"eval/loss", false}, {"loss", false}, {"completions/mean_length", false}, {"entropy",
                                          false}}) {
    std::vector<double> last;
    for (const RunData* run : group.runs)
      if (const Line line = line_of(*run, metric); !line.empty()) last.push_back(line.back().value);
    if (last.size() < 2) continue;
    double mean = 0;
    for (double v : last) mean += v / static_cast<double>(last.size());
    const auto text = [&, s = share](double v) { return s ? percent(v) : human_number(v); };
    table.add_row({metric, text(mean), text(sample_deviation(last)), text(*std::min_element(last.begin(), last.end())),
                   text(*std::max_element(last.begin(), last.end())), std::to_string(last.size())});
  }
  return table.empty() ? std::string() : table.str();
}

}  // namespace

std::string problems_section(std::span<const RunData> runs) {
  std::string items;
  for (const RunData& run : runs)
    for (const std::string& problem : run.problems) items += message("<li><strong>", escape(run.name), "</strong>: ", escape(problem), "</li>\n");
  return items.empty() ? std::string()
      : message("<section class=\"problems\" id=\"problems\" aria-labelledby=\"problems-title\"><h2 id=\"problems-title\">"
                                                 "Not everything could be read</h2><ul>\n", items, "</ul></section>\n");
}

std::string summary_section(const PageInput& input) {
  const std::string one = input.pipeline ? "stage" : "run";
  std::vector<std::string> header = {one, "kind", "seed", "state", "updates", "reward", "accuracy, greedy", "accuracy, T=1 or pairs", "token accuracy", "loss",
      "length", "truncated", "entropy",
                                     "reflective words a completion", "mixed languages", "time", "result", "needs"};
  std::vector<std::vector<std::string>> rows;
  for (const RunData& run : input.runs) {
    if (run.empty()) continue;
    const double seconds = run.metrics.empty() && run.stage ? run.stage->seconds : wall_seconds(run);
    std::string needs;
    if (run.stage)
      for (const std::string& name : run.stage->needs) needs += (needs.empty() ? "" : ", ") + escape(name);
    std::int64_t steps = 0;
    for (const MetricRow& row : run.metrics) steps = std::max(steps, row.step);
    rows.push_back({escape(run.name), escape(run.kind), escape(run.seed), state(run), steps > 0 ? with_commas(steps) : "", change(run, "reward", false), change(run,
        "eval/greedy/accuracy", true),
                    first_of(run, {"eval/sampled/pass@1", "eval/accuracy", "eval/rewards/accuracies"}, true),
                    first_of(run, {"eval/mean_token_accuracy", "mean_token_accuracy"}, true),
                    first_of(run, {"eval/loss", "loss"}, false),
                    first_of(run, {"eval/sampled/mean_length", "eval/greedy/mean_length", "completions/mean_length"}, false),
                    first_of(run, {"eval/sampled/clipped_ratio", "eval/greedy/clipped_ratio", "completions/clipped_ratio"}, true),
                    first_of(run, {"entropy", "eval/sampled/entropy"}, false), reflective_at_end(run), mixed_at_end(run),
                    seconds > 0 ? human_duration(seconds) : "", run.stage ? escape(run.stage->score) : "", needs});
  }
  // Columns that no run fills are left out.
  for (std::size_t c = header.size(); c-- > 1;) {
    if (std::any_of(rows.begin(), rows.end(), [&](const auto& row) { return !row[c].empty(); })) continue;
    header.erase(header.begin() + static_cast<std::ptrdiff_t>(c));
    for (auto& row : rows) row.erase(row.begin() + static_cast<std::ptrdiff_t>(c));
  }
  HtmlTable table(input.pipeline ? "Stage by stage: first → last value of each, 95 % intervals in brackets"
      : "Runs: first → last value, 95 % intervals in brackets", header);
  for (auto& row : rows) table.add_row(std::move(row));
  if (table.empty()) return {};
  std::string out = table.str() + benchmarks_over_pipelines(input.runs) + benchmark_table(input.runs);
  if (!input.pipeline)
    for (const RunGroup& group : group_runs(input.runs))
      if (group.runs.size() > 1) out += over_seeds(group);
  return section("summary", input.pipeline ? "Stages" : "Summary", out);
}

}  // namespace r1::report
