#include "apps/score_file.h"

#include <algorithm>
#include <cstdio>
#include <deque>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "core/digest.h"
#include "core/error.h"
#include "core/files.h"
#include "core/json_text.h"
#include "core/signals.h"
#include "core/thread_pool.h"
#include "text/completion_column.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;

struct Item {
  Json row;
  SampleGroup group;
  bool list = false;  // the row holds a list of completions
};

Item make_item(const Row& row, std::int64_t number, const ScoreFileOptions& o) {
  Item item;
  for (const auto& [name, text] : row.columns) item.row[name] = Json::parse(text);
  item.group.prompt = unrendered_prompt(o.data, row, number);
  RowCompletions found = completions_in(row, o.completion_column);
  item.list = found.list;
  item.group.prompt.columns.erase(found.column);  // what is scored is no column of the data to the rewards
  item.group.completions = std::move(found.completions);
  if (o.tokenizer)
    for (Completion& c : item.group.completions) c.tokens = o.tokenizer->encode(c.text, false);
  return item;
}

Json number(const float value) { return Json::parse(json_number(value)); }  // 0.1 and not 0.10000000149011612

std::string scored_line(Item item, const Rubric& rubric) {
  const std::vector<Score> scores = rubric.score(item.group);
  const auto put = [&](const std::string& name, auto&& of) {
    if (!item.list) {
      item.row[name] = of(scores[0]);
      return;
    }
    Json all = Json::array();
    for (const Score& s : scores) all.push_back(of(s));
    item.row[name] = std::move(all);
  };
  put("reward", [](const Score& s) { return number(s.value); });
  for (const Rubric::Entry& e : rubric.entries())
    put("reward." + e.label, [&](const Score& s) {
      const auto it = s.parts.find(e.label);
      return it == s.parts.end() ? Json() : number(it->second);
    });
  put("verdict", [](const Score& s) { return Json(to_string(s.verdict)); });
  put("detail", [](const Score& s) { return Json(s.detail); });
  put("score_columns", [](const Score& s) { return Json(s.columns); });
  return item.row.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// From the line itself, so that rows of an earlier call count the same way.
void count(const Json& row, const Rubric& rubric, ScoreSummary& s) {
  const auto each = [&](const std::string& name, auto&& use) {
    const Json& value = row.at(name);
    if (value.is_array()) std::for_each(value.begin(), value.end(), use);
    else use(value);
  };
  const auto add = [&](const std::string& name) {
    ScoreSummary::Column& c = s.columns[name];
    each(name, [&](const Json& v) {
      if (v.is_null()) {
        ++c.abstained;
        return;
      }
      const double x = v.get<double>();
      c.lowest = c.count == 0 ? x : std::min(c.lowest, x);
      c.highest = c.count == 0 ? x : std::max(c.highest, x);
      c.sum += x;
      ++c.count;
    });
  };
  add("reward");
  for (const Rubric::Entry& e : rubric.entries()) add("reward." + e.label);
  each("verdict", [&](const Json& v) {
    ++s.verdicts[v.get<std::string>()];
    ++s.completions;
  });
  ++s.rows;
}

std::string fingerprint_of(const std::vector<Row>& rows, const ScoreFileOptions& o) {
  Hasher h;
  h.update_field("r1 score 1");
  for (const std::string* text : {&o.settings, &o.completion_column, &o.data.prompt_column, &o.data.answer_column,
                                  &o.data.id_column, &o.data.task_column, &o.data.task})
    h.update_field(*text);
  for (const Row& row : rows)
    for (const auto& [name, text] : row.columns) h.update_field(name), h.update_field(text);
  return to_hex(h.digest());
}

// The scored rows take the place of OUT: never of their own source.
void check_out(const std::vector<Row>& rows, const std::string& out) {
  if (out == "-") throw ConfigError("--out - : the rows go to a file, which an interrupted call continues; name one");
  const std::string* last = nullptr;
  for (const Row& row : rows) {
    if (last && *last == row.file) continue;
    last = &row.file;
    std::error_code none;  // one of them does not exist: they differ
    if (std::filesystem::equivalent(row.file, out, none))
      throw ConfigError(message("--out ", out, " is the input ", row.file, ", which would be lost; name another file"));
  }
}

}  // namespace

ScoreSummary score_file(const Rubric& rubric, const ScoreFileOptions& o,
                        const std::function<void(std::int64_t, std::int64_t)>& progress) {
  R1_CHECK(o.threads >= 1, "score_file with ", o.threads, " threads");
  const std::vector<Row> rows = read_rows(o.data);
  check_out(rows, o.out);
  std::vector<Prompt> prompts;
  for (std::size_t i = 0; i < rows.size(); ++i) prompts.push_back(make_item(rows[i], static_cast<std::int64_t>(i) + 1, o).group.prompt);
  ScoreSummary summary;
  summary.bad_rows = rubric.check_prompts(prompts).summary();
  prompts.clear();
  if (!summary.bad_rows.empty() && !o.score_bad_rows)
    throw DataError(message(summary.bad_rows, " (--on-error score scores the file all the same; such rows abstain)"));

  // OUT.partial: a first line that names the work, then the rows done.
  const std::filesystem::path partial = o.out + ".partial";
  const std::string first = "{\"r1_score\":\"" + fingerprint_of(rows, o) + "\"}\n";
  std::size_t done = 0;
  if (std::filesystem::exists(partial)) {
    const std::string text = read_file(partial);
    if (!text.starts_with(first))
      throw ConfigError(message(partial.string(), " holds work of other input or settings; give those again to go on with it, "
                                "or delete it to begin anew"));
    std::size_t whole = first.size();
    for (std::size_t end; done < rows.size() && (end = text.find('\n', whole)) != std::string::npos; whole = end + 1, ++done)
      count(Json::parse(text.begin() + static_cast<std::ptrdiff_t>(whole), text.begin() + static_cast<std::ptrdiff_t>(end)), rubric, summary);
    File(partial, File::Mode::kAppend).truncate(whole);  // a row that a kill cut off
    summary.resumed = static_cast<std::int64_t>(done);
  } else {
    write_file_atomic(partial, first);
  }
  {
    File file(partial, File::Mode::kAppend);
    ThreadPool pool(o.threads, static_cast<std::size_t>(o.threads) * 4, "r1-score");
    std::deque<std::future<std::string>> waiting;
    for (std::size_t next = done; done < rows.size(); ++done) {
      for (; next < rows.size() && waiting.size() < static_cast<std::size_t>(o.threads) * 4 && !stop_requested(); ++next)
        waiting.push_back(pool.submit([&rubric, &o, &row = rows[next], number = static_cast<std::int64_t>(next) + 1] {
          return scored_line(make_item(row, number, o), rubric);
        }));
      if (waiting.empty()) {
        file.sync();
        throw Interrupted(message("stopped after ", done, " of ", rows.size(), " rows; the same command goes on from there"));
      }
      const std::string line = waiting.front().get();
      waiting.pop_front();
      file.write(line + "\n");
      count(Json::parse(line), rubric, summary);
      if (progress) progress(static_cast<std::int64_t>(done) + 1, static_cast<std::int64_t>(rows.size()));
    }
  }
  write_file_atomic(o.out, std::string_view(read_file(partial)).substr(first.size()));
  std::filesystem::remove(partial);
  return summary;
}

std::string ScoreSummary::table() const {
  char line[256];
  std::string out;
  const auto add = [&](const char* format, auto... values) {
    std::snprintf(line, sizeof line, format, values...);
    out += line;
  };
  add("%lld rows, %lld completions\n%-28s %10s %10s %10s %10s\n", static_cast<long long>(rows), static_cast<long long>(completions), "",
      "mean", "lowest", "highest", "abstained");
  for (const auto& [name, c] : columns) {
    if (c.count == 0) add("%-28s %10s %10s %10s %10lld\n", name.c_str(), "-", "-", "-", static_cast<long long>(c.abstained));
    else
      add("%-28s %10.4f %10.4f %10.4f %10lld\n", name.c_str(), c.sum / static_cast<double>(c.count), c.lowest, c.highest,
          static_cast<long long>(c.abstained));
  }
  for (const auto& [word, n] : verdicts)
    add("verdict %-20s %10lld %9.2f %%\n", word.c_str(), static_cast<long long>(n), 100.0 * static_cast<double>(n) / static_cast<double>(completions));
  return out;
}

}  // namespace r1
