// Learning curves: known metrics first, with a word on what they are; then whatever else the runs recorded.
#include <algorithm>
#include <map>
#include <set>

#include "core/error.h"
#include "report/html.h"
#include "report/sections.h"
#include "report/svg_chart.h"

namespace r1::report {
namespace {

struct Shown {
  std::string metric, label, low, high;  // low and high: metrics of an interval, or empty
};
struct Panel {
  std::string title, unit, note;
  std::vector<Shown> metrics;
};

const std::vector<std::pair<std::string, std::vector<Panel>>>& panels() {
  static const std::vector<std::pair<std::string, std::vector<Panel>>> all = {
      {"Held out",
       {{"Accuracy, greedy", "%", "held-out prompts, temperature 0; 95 % Wilson intervals",
         {{"eval/greedy/accuracy", "greedy", "eval/greedy/accuracy_low", "eval/greedy/accuracy_high"}}},
        {"Accuracy, sampled (pass@1)", "%", "held-out prompts, training temperature; 95 % bootstrap intervals",
         {{"eval/sampled/pass@1", "pass@1", "eval/sampled/pass@1_low", "eval/sampled/pass@1_high"}}},
        {"Pairs ranked right", "%", "held-out pairs; 95 % intervals", {{"eval/accuracy", "accuracy", "eval/accuracy_low", "eval/accuracy_high"},
         {"eval/rewards/accuracies", "implicit reward", "", ""}}},
        {"Token accuracy, held out", "%", "the most likely token is the data's", {{"eval/mean_token_accuracy", "token accuracy", "", ""}}},
        {"Loss, held out", "", "", {{"eval/loss", "loss", "", ""}}},
        {"Reward, held out", "", "", {{"eval/sampled/reward", "sampled", "", ""}, {"eval/greedy/reward", "greedy", "", ""}}},
        {"Length, held out", "tokens", "mean of completions", {{"eval/sampled/mean_length", "sampled", "", ""}, {"eval/greedy/mean_length", "greedy",
            "", ""}}},
        {"Truncated, held out", "%", "cut by the token budget", {{"eval/sampled/clipped_ratio", "sampled", "", ""}, {"eval/greedy/clipped_ratio",
            "greedy", "", ""}}},
        {"Entropy, held out", "nats", "mean a token", {{"eval/sampled/entropy", "sampled", "", ""}, {"eval/greedy/entropy", "greedy", "", ""},
            {"eval/entropy", "of the data", "", ""}}}}},
      {"Training",
       {{"Reward", "", "mean over completions of the rollout", {{"reward", "reward", "", ""}}},
        {"Accuracy in training", "%", "completions judged right", {{"accuracy", "accuracy", "", ""}, {"pass_at_g", "one of the group", "", ""}}},
        {"Token accuracy", "%", "the most likely token is the data's", {{"mean_token_accuracy", "token accuracy", "", ""}}},
        {"Pairs ranked right, training", "%", "", {{"rewards/accuracies", "implicit reward", "", ""}}},
        {"Reward margin", "", "chosen less rejected", {{"rewards/margins", "implicit", "", ""}, {"margin", "reward model", "", ""}}},
        {"Loss", "", "of the update", {{"loss", "loss", "", ""}}},
        {"Length", "tokens", "mean of completions", {{"completions/mean_length", "all", "", ""}, {"length/correct", "right", "", ""}, {"length/wrong",
            "wrong", "", ""}}},
        {"Truncated", "%", "completions cut by the token budget", {{"completions/clipped_ratio", "truncated", "", ""}}},
        {"Format", "%", "completions in the form asked for", {{"verdict/format/ok", "format", "", ""}, {"rewards/format/mean", "format reward", "",
            ""}}},
        {"Groups without signal", "%", "all completions of the prompt got the same reward", {{"frac_reward_zero_std", "equal rewards", "", ""}}},
        {"Entropy", "nats", "of the policy, mean a token", {{"entropy", "entropy", "", ""}}}}},
      {"Update",
       {{"KL to the reference", "nats", "mean a token", {{"kl", "kl", "", ""}, {"distill/reverse_kl", "reverse KL to the teacher", "", ""}}},
        {"Clipped tokens", "%", "share of tokens without gradient, by side", {{"clip_ratio/low_mean", "below", "", ""}, {"clip_ratio/high_mean",
            "above", "", ""},
         {"clip_ratio/region_mean", "both", "", ""}}},
        {"dlogp: sampler against learner", "nats", "largest difference of a token's log-probability", {{"mismatch/max_abs_logp", "largest", "", ""},
         {"mismatch/mean_abs_logp", "mean", "", ""}}},
        {"Mismatch KL", "nats", "between sampler and learner", {{"mismatch/kl", "mismatch", "", ""}}},
        {"Policy drift", "nats", "from the policy that sampled", {{"policy_drift", "drift", "", ""}}},
        {"Gradient norm", "", "before clipping", {{"grad_norm", "norm", "", ""}}},
        {"Learning rate", "", "", {{"learning_rate", "learning rate", "", ""}}}}},
  };
  return all;
}

void add_lines(Chart& chart, std::span<const RunGroup> groups, const Shown& shown, int dash, bool name_metric) {
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const auto label = [&](const std::string& run) {
      const bool one = groups.size() == 1 && groups[0].runs.size() == 1;
      return one ? shown.label : name_metric ? run + ", " + shown.label : run;
    };
    std::vector<Line> lines;
    for (const RunData* run : groups[g].runs) lines.push_back(line_of(*run, shown.metric));
    const Line mean = mean_line(lines);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      if (lines[i].empty()) continue;
      ChartLine line{label(groups[g].runs[i]->name), static_cast<int>(g % 8), dash,
                     mean.empty() ? ChartLine::Weight::kNormal : ChartLine::Weight::kThin, lines[i], {}, {}};
      if (!shown.low.empty() && mean.empty()) line.low = line_of(*groups[g].runs[i], shown.low), line.high = line_of(*groups[g].runs[i], shown.high);
      chart.lines.push_back(std::move(line));
    }
    if (!mean.empty())
      chart.lines.push_back({label(message("mean of ", lines.size(), groups.size() > 1 ? " (" + groups[g].name + ")" : std::string(" seeds"))),
                             static_cast<int>(g % 8), dash, ChartLine::Weight::kMean, mean, {}, {}});
  }
}

bool any_line(std::span<const RunGroup> groups, const std::string& metric) {
  for (const RunGroup& g : groups)
    for (const RunData* run : g.runs)
      if (!line_of(*run, metric).empty()) return true;
  return false;
}

std::string panel_chart(const Panel& panel, std::span<const RunGroup> groups, const std::string& id) {
  std::vector<const Shown*> there;
  for (const Shown& shown : panel.metrics)
    if (any_line(groups, shown.metric)) there.push_back(&shown);
  Chart chart{panel.title, panel.unit, panel.note, {}};
  for (std::size_t i = 0; i < there.size(); ++i) add_lines(chart, groups, *there[i], static_cast<int>(i % 3), there.size() > 1);
  return line_chart(chart, id);
}

}  // namespace

std::string curves_section(std::span<const RunGroup> groups) {
  std::string out;
  std::set<std::string> used;
  int next = 0;
  for (const auto& [heading, list] : panels()) {
    std::string charts;
    for (const Panel& panel : list) {
      for (const Shown& shown : panel.metrics) used.insert({shown.metric, shown.low, shown.high});
      charts += panel_chart(panel, groups, message("chart", next++));
    }
    if (!charts.empty()) out += message("<h3>", heading, "</h3>\n<div class=\"grid\">", charts, "</div>\n");
  }
  std::set<std::string> rest;
  for (const RunGroup& g : groups)
    for (const RunData* run : g.runs)
      for (const MetricRow& row : run->metrics)
        for (const auto& [name, value] : row.values)
          if (!used.contains(name)) rest.insert(name);
  std::string charts;
  for (const std::string& name : rest) charts += panel_chart({name, "", "", {{name, name, "", ""}}}, groups, message("chart", next++));
  if (!charts.empty()) out += fold(message("All other metrics (", rest.size(), ")"), "<div class=\"grid\">" + charts + "</div>");
  return section("curves", "Learning curves", out);
}

}  // namespace r1::report
