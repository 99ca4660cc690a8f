#include "rl/eval/completions_file.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/thread_pool.h"
#include "rl/eval/forms.h"
#include "text/completion_column.h"

namespace r1 {
namespace {

using Json = nlohmann::json;

std::string text_of(const Json& v) { return v.is_string() ? v.get<std::string>() : v.dump(); }

bool is_lm_eval(const Row& row) { return row.columns.contains("resps") && row.columns.contains("doc"); }

// The doc's columns as a row; the completions of `resps`, a list (one a request) of lists (one a repeat).
MadeElsewhere lm_eval_row(const Row& source) {
  const std::string at = message(source.file, ":", source.line);
  const Json doc = Json::parse(source.columns.at("doc")), resps = Json::parse(source.columns.at("resps"));
  MadeElsewhere out;
  out.row.file = source.file;
  out.row.line = source.line;
  if (!doc.is_object()) throw DataError(message(at, ": 'doc' must be an object"));
  for (const auto& [name, value] : doc.items()) out.row.columns[name] = value.dump();
  // Its own number of the document, where the document has no name.
  if (const auto id = source.columns.find("doc_id"); id != source.columns.end()) out.row.columns.try_emplace("id", id->second);
  const auto refuse = [&] { throw DataError(message(at, ": 'resps' must be a list of lists of texts: only tasks that generate can be graded")); };
  if (!resps.is_array() || resps.size() != 1 || !resps[0].is_array() || resps[0].empty()) refuse();
  for (const Json& text : resps[0]) {
    if (!text.is_string()) refuse();
    Completion c;
    c.text = text.get<std::string>();
    c.stop = StopReason::kEos;
    out.completions.push_back(std::move(c));
  }
  return out;
}

void add_theirs(const Row& source, MadeElsewhere& out) {
  if (out.completions.size() != 1) return;
  const auto filter = source.columns.find("filter");
  const std::string name = filter == source.columns.end() ? "none" : text_of(Json::parse(filter->second));
  std::vector<std::string> metrics = {"exact_match"};
  if (const auto it = source.columns.find("metrics"); it != source.columns.end()) {
    const Json list = Json::parse(it->second);
    if (list.is_array()) {
      metrics.clear();
      for (const Json& m : list) metrics.push_back(text_of(m));
    }
  }
  for (const std::string& metric : metrics) {
    const auto it = source.columns.find(metric);
    if (it == source.columns.end()) continue;
    const Json v = Json::parse(it->second);
    if (!v.is_number() && !v.is_boolean()) continue;
    out.theirs[metrics.size() == 1 ? name : name + "/" + metric] = v.is_boolean() ? v.get<bool>() : v.get<double>();
  }
}

MadeElsewhere plain_row(const Row& source, const std::string& column) {
  MadeElsewhere out;
  out.row = source;
  if (const auto it = source.columns.find("id"); it != source.columns.end()) out.id = text_of(Json::parse(it->second));
  // A samples file of ours: one completion a line in `text`.
  const bool ours = column.empty() && source.columns.contains("part") && source.columns.contains("sample") && source.columns.contains("text");
  out.completions = completions_in(source, ours ? "text" : column).completions;
  if (ours) out.greedy = text_of(Json::parse(source.columns.at("part"))) == "greedy";
  return out;
}

std::vector<Agreement> agreements(const std::vector<MadeElsewhere>& rows, const std::vector<GradedSample>& samples,
                                  const std::vector<std::size_t>& first_sample, const std::vector<std::string>& golds) {
  std::map<std::string, Agreement> all;
  for (std::size_t i = 0; i < rows.size(); ++i)
    for (const auto& [name, score] : rows[i].theirs) {
      Agreement& a = all[name];
      a.name = name;
      a.lenient = name.find("strict") == std::string::npos;
      const GradedSample& s = samples[first_sample[i]];
      const Grade& g = a.lenient && s.lenient ? *s.lenient : s.strict;
      const bool theirs = score >= 1, ours = g.verdict == Verdict::kCorrect;
      ++a.items;
      a.theirs += theirs;
      a.ours += ours;
      a.only_theirs += theirs && !ours;
      a.only_ours += ours && !theirs;
      if (theirs != ours)
        a.differing.push_back(message(s.id, ": gold '", golds[i].substr(0, 40), "', ", ours ? "right here, wrong there" : "wrong here, right there",
                                      "; read '", g.answer.substr(0, 40), "' (", g.detail, ")"));
    }
  std::vector<Agreement> out;
  for (auto& [name, a] : all) out.push_back(std::move(a));
  return out;
}

}  // namespace

std::vector<MadeElsewhere> read_completions(const std::string& file, const std::string& column) {
  DatasetOptions read;
  read.paths = {file};
  std::vector<MadeElsewhere> out;
  std::map<std::string, std::size_t> documents;  // lm-eval: doc_id and repeats -> index
  for (const Row& source : read_rows(read)) {
    if (!is_lm_eval(source)) {
      out.push_back(plain_row(source, column));
      continue;
    }
    const auto id = source.columns.find("doc_id");
    const std::string key = (id == source.columns.end() ? message("line ", source.line) : id->second) + source.columns.at("resps");
    const auto [it, is_new] = documents.try_emplace(key, out.size());
    if (is_new) out.push_back(lm_eval_row(source));
    add_theirs(source, out[it->second]);
  }
  return out;
}

CompletionsResult grade_completions(const Benchmark& b, const Grader& grader, const CompletionsOptions& o) {
  std::vector<MadeElsewhere> rows = read_completions(o.file, o.column);
  if (o.limit > 0 && static_cast<std::int64_t>(rows.size()) > o.limit) rows.resize(static_cast<std::size_t>(o.limit));
  std::map<std::string, Prompt> known;
  if (!o.data.empty())
    for (Prompt& p : unrendered_prompts(benchmark_rows(b, {o.data}, 0, o.seed))) known.try_emplace(p.id, std::move(p));
  std::vector<Prompt> prompts;
  std::map<std::string, std::string> references;
  std::map<std::string, int> next_sample;
  CompletionsResult out;
  std::vector<std::size_t> first_sample, prompt_of;
  std::vector<std::string> golds;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const MadeElsewhere& r = rows[i];
    if (!o.data.empty()) {
      const auto it = known.find(r.id);
      if (it == known.end())
        throw DataError(message(r.row.file, ":", r.row.line, ": the id '", r.id, "' is in no row of ", o.data,
                                "; leave the data file out if the rows hold question and gold"));
      prompts.push_back(it->second);
    } else {
      prompts.push_back(unrendered_prompts({benchmark_row(b, r.row, static_cast<std::int64_t>(i) + 1, o.seed)})[0]);
    }
    const Prompt& p = prompts.back();
    references[p.id] = p.reference;
    golds.push_back(p.reference);
    first_sample.push_back(out.samples.size());
    int& next = next_sample[p.id + (r.greedy ? " greedy" : "")];
    for (const Completion& c : r.completions) {
      GradedSample s;
      s.id = p.id;
      s.greedy = r.greedy;
      s.sample = next++;
      s.text = c.text;
      s.stop = c.stop;
      out.samples.push_back(std::move(s));
      prompt_of.push_back(i);
    }
  }
  if (const PromptCheck check = grader.check_prompts(prompts); !check.problems.empty()) throw DataError(message(o.file, ": ", check.summary()));
  {
    ThreadPool pool(o.threads, 4096, "r1-grade");
    std::vector<std::future<void>> grading;
    for (std::size_t i = 0; i < out.samples.size(); ++i)
      grading.push_back(pool.submit([&, i] { grader.grade(prompts[prompt_of[i]], out.samples[i]); }));
    for (auto& g : grading) g.get();
  }
  out.counting = {o.pass_k, grader.votes(), o.seed};
  out.result = summarise(b.name, out.samples, references, out.counting);
  out.result.title = b.title;
  out.result.rows_of_set = b.rows;
  out.agreements = agreements(rows, out.samples, first_sample, golds);
  return out;
}

}  // namespace r1
