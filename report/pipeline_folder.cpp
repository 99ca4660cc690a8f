#include "report/pipeline_folder.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>
#include <utility>

#include "report/read_rows.h"
#include "rl/statistics.h"

namespace r1::report {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

struct Found {
  bool unfinished = false;
  std::string start;            // of a plain run: environment.json's first time
  fs::file_time_type changed;   // of stage.json, else of the folder
  std::string name;
  fs::path dir;
  bool plain = false;
};

bool holds_run(const fs::path& dir) {
  std::error_code none;
  return fs::exists(dir / "config.yaml", none) || fs::exists(dir / "metrics.jsonl", none);
}

bool holds_stage(const fs::path& dir) {
  std::error_code none;
  for (const char* name : {"stage.json", "recipe.yaml", "run", "set", "eval"})
    if (fs::exists(dir / name, none)) return true;
  return false;
}

std::string first_start(const fs::path& run) {
  std::error_code none;
  const fs::path file = run / "environment.json";
  const Json j = fs::exists(file, none) ? Json::parse(read_file(file), nullptr, false) : Json();
  const auto starts = j.is_object() ? j.find("starts") : j.end();
  if (!j.is_object() || starts == j.end() || !starts->is_array() || starts->empty()) return "~";  // after every time
  return text_of((*starts)[0], "time");
}

// Of the keys of a stage: the newest finished one, else the newest.
std::optional<Found> newest_key(const fs::path& stage) {
  std::optional<Found> best;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(stage, none)) {
    if (!entry.is_directory() || !holds_stage(entry.path())) continue;
    const fs::path record = entry.path() / "stage.json";
    Found f;
    f.unfinished = !fs::exists(record, none);
    f.changed = fs::last_write_time(f.unfinished ? entry.path() : record, none);
    f.name = stage.filename().string(), f.dir = entry.path();
    if (!best || f.changed > best->changed) best = f;
  }
  return best;
}

void load_record(RunData& run, const fs::path& file) {
  std::error_code none;
  if (!fs::exists(file, none)) return;
  const Json j = Json::parse(read_file(file), nullptr, false);
  if (!j.is_object()) {
    run.problems.push_back("stage.json is damaged");
    return;
  }
  StageFacts facts{text_of(j, "key"), text_of(j, "output"), text_of(j, "score"), {}, number_of(j, "seconds").value_or(0)};
  if (const auto inputs = j.find("inputs"); inputs != j.end() && inputs->is_object())
    for (const auto& [name, output] : inputs->items()) facts.needs.push_back(name);
  run.stage = std::move(facts);
}

// NAME and file of each NAME + ending, by name.
std::map<std::string, fs::path> benchmark_files(const fs::path& dir, std::string_view ending) {
  std::map<std::string, fs::path> files;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(dir, none))
    if (const std::string file = entry.path().filename().string(); file.ends_with(ending)) files[file.substr(0, file.size() - ending.size())] = entry.path();
  return files;
}

RunData load_stage(const Found& found) {
  if (found.plain) return load_run(found.dir);
  RunData run;
  std::error_code none;
  if (fs::is_directory(found.dir / "run", none)) run = load_run(found.dir / "run");
  run.path = found.dir, run.name = found.name;
  try {
    if (fs::is_directory(found.dir / "eval", none)) {
      run.kind = "eval";
      run.benchmarks = load_benchmarks(found.dir / "eval", run.problems);
      run.benchmark_texts = load_benchmark_texts(found.dir / "eval", run.problems);
    }
    if (run.kind.empty() && fs::is_directory(found.dir / "set", none)) run.kind = "generate";
    load_record(run, found.dir / "stage.json");
  } catch (const Error& e) {
    run.problems.push_back(e.what());
  }
  run.finished = run.finished || run.stage;
  return run;
}

}  // namespace

std::vector<BenchmarkScore> load_benchmarks(const fs::path& dir, std::vector<std::string>& problems) {
  std::vector<BenchmarkScore> scores;
  for (const auto& [name, file] : benchmark_files(dir, ".items.jsonl")) {
    struct Part { std::vector<double> shares; std::int64_t right = 0, samples = 0; };
    std::map<std::string, Part> parts;
    read_rows(file, problems, [&](const Json& j) {
      const auto samples = j.at("samples").get<std::int64_t>(), right = j.at("strict").get<std::int64_t>();
      if (samples <= 0) return;
      Part& p = parts[text_of(j, "part")];
      p.shares.push_back(static_cast<double>(right) / static_cast<double>(samples));
      p.right += right, p.samples += samples;
    });
    for (const auto& [part, p] : parts) {
      const auto items = static_cast<std::int64_t>(p.shares.size());
      const Interval interval = p.samples == items ? wilson_interval(p.right, items) : bootstrap_mean(p.shares, 0);
      scores.push_back({name, part, items, mean_of(p.shares), interval.low, interval.high});
    }
  }
  return scores;
}

std::vector<BenchmarkTexts> load_benchmark_texts(const fs::path& dir, std::vector<std::string>& problems) {
  std::vector<BenchmarkTexts> all;
  for (const auto& [name, file] : benchmark_files(dir, ".samples.jsonl")) {
    struct Asked { std::string question, reference, language; };
    std::map<std::string, Asked> asked;
    std::error_code none;
    if (const fs::path prompts = dir / (name + ".prompts.jsonl"); fs::exists(prompts, none))
      read_rows(prompts, problems, [&](const Json& j) {
        asked[text_of(j, "id")] = {text_of(j, "question"), text_of(j, "reference"), text_of(j, "language")};
      });
    BenchmarkTexts texts{name, {}};
    read_rows(file, problems, [&](const Json& j) {
      SampleRow row;
      row.prompt_id = j.at("id").get<std::string>();
      row.sample = static_cast<std::int64_t>(number_of(j, "sample").value_or(0));
      row.greedy = text_of(j, "part") == "greedy";
      row.completion = text_of(j, "text"), row.stop = text_of(j, "stop");
      row.tokens = static_cast<std::int64_t>(number_of(j, "tokens").value_or(0));
      const Json& strict = j.at("strict");
      row.verdict = text_of(strict, "verdict"), row.detail = text_of(strict, "detail");
      row.reward = number_of(strict, "value").value_or(0);
      if (const auto it = asked.find(row.prompt_id); it != asked.end()) {
        row.prompt = it->second.question, row.reference = it->second.reference;
        if (!it->second.language.empty()) row.columns["language"] = it->second.language;
      }
      texts.rows.push_back(std::move(row));
    });
    all.push_back(std::move(texts));
  }
  return all;
}

std::vector<RunData> load_stages(const fs::path& dir) {
  std::vector<Found> found;
  std::error_code none;
  if (holds_run(dir)) return {};
  for (const fs::path& parent : {dir, dir / "stages"})
    for (const auto& entry : fs::directory_iterator(parent, none)) {
      if (!entry.is_directory()) continue;
      if (holds_run(entry.path())) {
        found.push_back({false, first_start(entry.path()), {}, entry.path().filename().string(), entry.path(), true});
      } else if (parent != dir) {
        if (auto stage = newest_key(entry.path())) found.push_back(std::move(*stage));
      }
    }
  std::sort(found.begin(), found.end(), [](const Found& a, const Found& b) {
    return std::tie(a.unfinished, a.start, a.changed, a.name) < std::tie(b.unfinished, b.start, b.changed, b.name);
  });
  std::vector<RunData> runs;
  for (const Found& f : found) runs.push_back(load_stage(f));
  return runs;
}

}  // namespace r1::report
