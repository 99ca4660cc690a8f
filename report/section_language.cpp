// Words of reflection and the mix of languages, over time.
#include <algorithm>

#include "core/error.h"
#include "core/format.h"
#include "report/html.h"
#include "report/sections.h"
#include "report/svg_chart.h"
#include "report/text_signs.h"

namespace r1::report {
namespace {

constexpr std::size_t kColumns = 8;

struct Signs {
  std::size_t completions = 0, mixed = 0, reflective = 0;
  std::map<std::string, std::size_t> reflective_by_word, words;
};

std::map<std::int64_t, Signs> signs_by_step(const RunData& run) {
  std::map<std::int64_t, Signs> all;
  for (const auto& [step, texts] : texts_by_step(run)) {
    Signs& s = all[step];
    for (const SampleRow* row : texts) {
      s.completions += 1;
      for (const auto& [word, n] : count_reflective(row->completion)) s.reflective_by_word[word] += n, s.reflective += n;
      const auto words = words_by_language(row->completion);
      for (const auto& [language, n] : words) s.words[language] += n;
      s.mixed += is_mixed(words);
    }
  }
  return all;
}

double each(std::size_t n, const Signs& s) { return static_cast<double>(n) / static_cast<double>(s.completions); }

std::string tables(const RunData& run, const std::map<std::int64_t, Signs>& signs) {
  std::vector<std::int64_t> steps;
  std::map<std::string, std::size_t> words, languages;
  for (const auto& [step, s] : signs) {
    steps.push_back(step);
    for (const auto& [word, n] : s.reflective_by_word) words[word] += n;
    for (const auto& [language, n] : s.words) languages[language] += n;
  }
  std::vector<std::string> header = {""};
  std::vector<const Signs*> columns;
  for (std::size_t i : spread_indices(steps.size(), kColumns)) {
    header.push_back(message("step ", steps[i]));
    columns.push_back(&signs.at(steps[i]));
  }
  header[0] = "word";
  HtmlTable reflective(message(run.name, ": reflective words in 100 completions, ", texts_source(run)), header);
  for (std::string_view word : reflective_words()) {
    if (!words.contains(std::string(word))) continue;
    std::vector<std::string> row = {escape(word)};
    for (const Signs* s : columns) {
      const auto it = s->reflective_by_word.find(std::string(word));
      row.push_back(human_number(100 * each(it == s->reflective_by_word.end() ? 0 : it->second, *s), 3));
    }
    reflective.add_row(std::move(row));
  }
  header[0] = "language or script";
  HtmlTable mix(message(run.name, ": share of words by language, ", texts_source(run)), header);
  std::vector<std::pair<std::size_t, std::string>> order;
  for (const auto& [language, n] : languages) order.emplace_back(n, language);
  std::sort(order.rbegin(), order.rend());
  if (order.size() > 10) order.resize(10);
  for (const auto& [total, language] : order) {
    std::vector<std::string> row = {escape(language)};
    for (const Signs* s : columns) {
      std::size_t all = 0;
      for (const auto& [name, n] : s->words) all += n;
      const auto it = s->words.find(language);
      row.push_back(all == 0 ? "–" : percent(static_cast<double>(it == s->words.end() ? 0 : it->second) / static_cast<double>(all)));
    }
    mix.add_row(std::move(row));
  }
  std::string out = reflective.empty() ? message("<p>", escape(run.name), ": none of the ", reflective_words().size(),
      " reflective words and phrases looked for occurs.</p>\n")
                                       : reflective.str();
  return out + (mix.empty() ? std::string() : mix.str());
}

}  // namespace

std::map<std::int64_t, std::vector<const SampleRow*>> texts_by_step(const RunData& run) {
  std::map<std::int64_t, std::vector<const SampleRow*>> texts;
  bool sampled = false;
  for (const auto& [step, rows] : run.evaluations)
    for (const SampleRow& row : rows) sampled = sampled || !row.greedy;
  for (const auto& [step, rows] : run.evaluations.empty() ? run.samples : run.evaluations)
    for (const SampleRow& row : rows)
      if (run.evaluations.empty() || row.greedy != sampled) texts[step].push_back(&row);
  return texts;
}

std::string texts_source(const RunData& run) {
  if (run.evaluations.empty()) return "training transcripts";
  for (const auto& [step, rows] : run.evaluations)
    for (const SampleRow& row : rows)
      if (!row.greedy) return "held-out completions, sampled";
  return "held-out completions, greedy";
}

std::string language_section(std::span<const RunData> runs) {
  Chart reflective{"Reflective words", "", "in a completion, mean", {}}, mixed{"Mixed languages", "%",
      "completions in which a tenth of the words or more are of another language", {}};
  std::string out;
  int colour = 0;
  for (const RunData& run : runs) {
    const auto signs = signs_by_step(run);
    if (signs.empty()) continue;
    ChartLine words{run.name, colour++ % 8, 0, ChartLine::Weight::kNormal, {}, {}, {}}, mix = words;
    for (const auto& [step, s] : signs) {
      words.points.push_back({static_cast<double>(step), each(s.reflective, s)});
      mix.points.push_back({static_cast<double>(step), each(s.mixed, s)});
    }
    reflective.lines.push_back(std::move(words));
    mixed.lines.push_back(std::move(mix));
    out += runs.size() == 1 ? tables(run, signs) : fold(escape(run.name), tables(run, signs));
  }
  if (out.empty()) return {};
  return section("language", "Reflection and languages", "<div class=\"grid\">" + line_chart(reflective, "reflective") + line_chart(mixed, "mixed")
      + "</div>\n" + out);
}

}  // namespace r1::report
