#include "rl/eval/forms.h"

#include <numeric>
#include <unordered_map>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/rng.h"
#include "rl/eval/code_rows.h"

namespace r1 {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kChoiceStream = 0x63686f69ull;  // "choi"

std::string where(const Row& row) { return message(row.file, ":", row.line); }

std::string text_of(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return value.is_null() ? "" : value.dump();
  std::string out;
  for (const Json& one : value) out += (out.empty() ? "" : "\n") + (one.is_string() ? one.get<std::string>() : one.dump());
  return out;
}

std::string column_text(const Row& row, const std::string& name, const char* what) {
  const auto it = row.columns.find(name);
  if (it != row.columns.end()) return text_of(Json::parse(it->second));
  std::string names;
  for (const auto& [known, text] : row.columns) names += (names.empty() ? "" : ", ") + known;
  throw DataError(message(where(row), ": there is no column '", name, "' (", what, "); the columns are: ", names));
}

void put(Row& row, const char* name, const std::string& text) { row.columns[name] = Json(text).dump(); }

// Fisher-Yates keyed by seed and row: the same letters on every machine, in every run.
void shuffle_choices(const Benchmark& b, Row& row, std::int64_t number, std::uint64_t seed) {
  std::vector<std::size_t> order(b.choices.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  StreamRng rng(seed ^ kChoiceStream, static_cast<std::uint64_t>(number));
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.below(i)]);
  Json shown = Json::array();
  std::string lines, letters;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const char letter = static_cast<char>('A' + i);
    std::string text = column_text(row, b.choices[order[i]], "choices");
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
    lines += (i ? "\n" : "") + message(letter, ") ", text);
    letters += (i ? ", " : "") + std::string(1, letter);
    shown.push_back(text);
    if (order[i] == 0) put(row, "reference", std::string(1, letter));
  }
  row.columns["choices"] = shown.dump();
  put(row, "choice_lines", lines);
  put(row, "letters", letters);
}

bool counts(const Benchmark& b, const Row& row) {
  if (b.where_column.empty()) return true;
  const auto it = row.columns.find(b.where_column);
  return it == row.columns.end() || text_of(Json::parse(it->second)) == b.where_equals;
}

}  // namespace

std::string fill_template(const std::string& text, const Row& row) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::size_t end = text[i] == '{' ? text.find('}', i) : std::string::npos;
    const auto it = end == std::string::npos ? row.columns.end() : row.columns.find(text.substr(i + 1, end - i - 1));
    if (it == row.columns.end()) {
      out += text[i];
      continue;
    }
    out += text_of(Json::parse(it->second));
    i = end;
  }
  return out;
}

Row benchmark_row(const Benchmark& b, const Row& raw, std::int64_t number, std::uint64_t seed) {
  DatasetOptions names;
  names.prompt_column = b.question;
  names.answer_column = b.answer;
  if (raw.columns.contains(b.id)) names.id_column = b.id;  // copies of a set often lack it
  const Prompt plain = unrendered_prompt(names, raw, number);  // id, question and gold by the usual names
  Row row = raw;
  put(row, "id", plain.id);
  put(row, "reference", plain.reference);
  Row filled = raw;
  if (b.form == BenchmarkForm::kChoice) {
    shuffle_choices(b, row, number, seed);
    filled.columns["choices"] = row.columns["choice_lines"];
    filled.columns["letters"] = row.columns["letters"];
    row.columns.erase("choice_lines"), row.columns.erase("letters");
  } else if (b.form == BenchmarkForm::kCode) {
    const CodeRow code = with_context(where(raw), [&] { return code_row(raw); });
    row.columns["tests"] = code.tests_json;
    put(filled, "answer_format", code.answer_format);
  }
  if (!plain.messages.empty()) put(filled, "question", plain.text);
  std::string prompt = fill_template(b.prompt_template, filled);
  if (prompt.find("{question}") != std::string::npos && b.prompt_template.find("{question}") != std::string::npos && plain.messages.empty())
    throw DataError(message(where(raw), ": no question was found; set `question` of the benchmark to a column"));
  put(row, "prompt", prompt);
  return row;
}

DatasetOptions benchmark_row_options() {
  DatasetOptions o;
  o.prompt_column = "prompt";
  o.answer_column = "reference";
  o.id_column = "id";
  return o;
}

std::vector<Row> benchmark_rows(const Benchmark& b, const std::vector<std::string>& files, std::int64_t limit, std::uint64_t seed) {
  DatasetOptions read;
  read.paths = files;
  std::vector<Row> rows;
  std::unordered_map<std::string, std::int64_t> lines;
  std::int64_t number = 0;
  for (const Row& raw : read_rows(read)) {
    ++number;
    if (!counts(b, raw)) continue;
    if (limit > 0 && static_cast<std::int64_t>(rows.size()) >= limit) break;
    rows.push_back(benchmark_row(b, raw, number, seed));
    const auto [it, is_new] = lines.try_emplace(rows.back().columns.at("id"), raw.line);
    if (!is_new)
      throw DataError(
          message(where(raw), ": the id ", it->first, " is that of line ", it->second, " too; name a column that tells rows apart in `id`"));
  }
  if (rows.empty())
    throw DataError(message(files[0], ": no row of ", number, " counts for ", b.name,
                            b.where_column.empty() ? "" : message(" (", b.where_column, " must be '", b.where_equals, "')")));
  return rows;
}

void put_examples_before(std::vector<Row>& rows, const Benchmark& b, const std::string& file, int shots, std::uint64_t seed) {
  if (b.form == BenchmarkForm::kCode) throw ConfigError(message(b.name, ": worked examples are of questions with answers; this one is judged by tests"));
  DatasetOptions read;
  read.paths = {file};
  std::unordered_map<std::string, std::string> asked;  // question -> id
  for (const Row& row : rows) asked.try_emplace(row.columns.at("prompt"), column_text(row, "id", "id"));
  std::string text;
  int taken = 0;
  std::int64_t number = 0;
  for (const Row& raw : read_rows(read)) {
    ++number;
    if (taken == shots) break;
    if (!counts(b, raw)) continue;
    const Row row = benchmark_row(b, raw, number, seed);
    const std::string prompt = column_text(row, "prompt", "prompt");
    if (const auto same = asked.find(row.columns.at("prompt")); same != asked.end())
      throw DataError(message(where(raw), ": this example is item ", same->second, " of the evaluation itself; take rows of another split"));
    const bool column = b.form == BenchmarkForm::kPlain && raw.columns.contains(b.answer);
    const std::string answer = column_text(column ? raw : row, column ? b.answer : "reference", "answer");
    if (answer.empty()) throw DataError(message(where(raw), ": this example has no answer"));
    text += prompt + "\n" + answer + "\n\n";
    ++taken;
  }
  if (taken < shots) throw DataError(message(file, ": ", taken, " rows for ", shots, " worked examples"));
  for (Row& row : rows) put(row, "prompt", text + column_text(row, "prompt", "prompt"));
}

std::vector<Prompt> unrendered_prompts(const std::vector<Row>& rows) {
  std::vector<Prompt> prompts;
  for (std::size_t i = 0; i < rows.size(); ++i)
    prompts.push_back(unrendered_prompt(benchmark_row_options(), rows[i], static_cast<std::int64_t>(i) + 1));
  return prompts;
}

}  // namespace r1
