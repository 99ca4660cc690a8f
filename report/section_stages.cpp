// What the evaluated stages of a pipeline write: form, length and language of their answers to the same problems, and the answers themselves.
#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "core/error.h"
#include "core/format.h"
#include "report/html.h"
#include "report/sections.h"
#include "report/text_signs.h"
#include "rewards/format.h"

namespace r1::report {
namespace {

constexpr std::size_t kProblems = 4;  // a benchmark

std::string ratio(double part, double all, bool share = true) {
  if (all == 0) return "–";
  return share ? percent(part / all) : human_number(part / all, 3);
}

// The mean over completions of the share of words in the question's language; NaN where no question's language is known.
std::string consistency(const std::vector<const SampleRow*>& rows) {
  double sum = 0, counted = 0;
  for (const SampleRow* row : rows)
    if (const auto share = share_in_language(*row)) sum += *share, ++counted;
  return counted == 0 ? "–" : message(percent(sum / counted), counted < static_cast<double>(rows.size())
                                                                  ? message(" <span class=\"note\">of ", with_commas(static_cast<std::int64_t>(counted)), "</span>")
                                                                  : std::string());
}

std::vector<std::string> form_row(const RunData& run, const BenchmarkTexts& texts) {
  // Sampled completions where there are some: greedy ones repeat themselves more.
  const bool sampled = std::any_of(texts.rows.begin(), texts.rows.end(), [](const SampleRow& r) { return !r.greedy; });
  std::vector<const SampleRow*> rows;
  for (const SampleRow& row : texts.rows)
    if (row.greedy != sampled) rows.push_back(&row);
  double tokens = 0, cut = 0, thought = 0, mixed = 0, reflective = 0;
  FormatOptions form;
  form.answer_tag = false;
  for (const SampleRow* row : rows) {
    tokens += static_cast<double>(std::max<std::int64_t>(row->tokens, 0));
    cut += row->stop == "length";
    thought += check_format(row->completion, false, row->stop == "length" ? StopReason::kLength : StopReason::kEos, form).value == 1.f;
    mixed += is_mixed(words_by_language(row->completion));
    for (const auto& [word, n] : count_reflective(row->completion)) reflective += static_cast<double>(n);
  }
  const auto n = static_cast<double>(rows.size());
  return {escape(run.name), message(escape(texts.name), sampled ? ", sampled" : ", greedy"), with_commas(static_cast<std::int64_t>(rows.size())),
          ratio(tokens, n, false), ratio(cut, n), ratio(thought, n), consistency(rows), ratio(mixed, n), ratio(reflective, n, false)};
}

// How often the verdict of a problem's greedy (else first) answer changes from stage to stage.
struct Timeline {
  std::string id;
  std::vector<std::pair<const RunData*, const SampleRow*>> answers;
  std::size_t changes = 0;
};

std::vector<Timeline> timelines(std::span<const RunData> runs, const std::string& benchmark) {
  std::vector<Timeline> all;
  std::map<std::string, std::size_t> index;
  for (const RunData& run : runs)
    for (const BenchmarkTexts& texts : run.benchmark_texts) {
      if (texts.name != benchmark) continue;
      std::set<std::string> seen;
      for (const SampleRow& row : texts.rows) {  // an item's greedy answer comes first
        if (!seen.insert(row.prompt_id).second) continue;
        const auto [it, fresh] = index.try_emplace(row.prompt_id, all.size());
        if (fresh) all.push_back({row.prompt_id, {}, 0});
        Timeline& t = all[it->second];
        t.changes += !t.answers.empty() && t.answers.back().second->verdict != row.verdict;
        t.answers.emplace_back(&run, &row);
      }
    }
  std::stable_sort(all.begin(), all.end(), [](const Timeline& a, const Timeline& b) {
    return std::pair(b.answers.size(), b.changes) < std::pair(a.answers.size(), a.changes);
  });
  if (all.size() > kProblems) all.resize(kProblems);
  return all;
}

std::string shown(const Timeline& t, bool open) {
  const SampleRow& first = *t.answers.front().second;
  const std::string title = first.prompt.empty() ? t.id : first.prompt;
  std::string body = message("<p class=\"facts\">", escape(t.id), first.reference.empty() ? std::string() : message("; reference: <code>",
      escape(cut_to_width(first.reference, 200)), "</code>"), "</p><pre class=\"prompt\">", escape(title), "</pre>\n<div class=\"timeline\">");
  for (const auto& [run, row] : t.answers) body += message("<div><h4>", escape(run->name), "</h4>", transcript(*row), "</div>\n");
  return fold(escape(cut_to_width(title, 90)), body + "</div>", open);
}

}  // namespace

std::string stages_section(std::span<const RunData> runs) {
  HtmlTable table("Answers by stage: tokens, cut by the budget, one think block and then an answer, words in the question's language, completions "
                  "that mix languages, reflective words a completion",
                  {"evaluation", "benchmark", "completions", "length", "truncated", "think form", "language consistency", "mixed", "reflective words"});
  std::vector<std::string> benchmarks;
  for (const RunData& run : runs)
    for (const BenchmarkTexts& texts : run.benchmark_texts) {
      if (texts.rows.empty()) continue;
      table.add_row(form_row(run, texts));
      if (std::find(benchmarks.begin(), benchmarks.end(), texts.name) == benchmarks.end()) benchmarks.push_back(texts.name);
    }
  if (table.empty()) return {};
  std::string answers;
  for (const std::string& benchmark : benchmarks) {
    std::string list;
    for (const Timeline& t : timelines(runs, benchmark)) list += shown(t, list.empty() && answers.empty());
    answers += message("<h4>", escape(benchmark), "</h4>", list);
  }
  return section("stages", "Answers by stage", table.str() + "<h3>The same prompt at every stage</h3>" + answers);
}

}  // namespace r1::report
