#include "report/run_data.h"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/config.h"
#include "core/digest.h"
#include "core/error.h"
#include "core/files.h"
#include "core/manifest.h"
#include "core/run_folder.h"
#include "report/read_rows.h"

namespace r1::report {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

void load_metrics(RunData& run) {
  read_rows(run.path / "metrics.jsonl", run.problems, [&](const Json& j) {
    MetricRow row{j.at("step").get<std::int64_t>(), number_of(j, "time").value_or(0), {}};
    for (const auto& [key, value] : j.items())
      if (key != "step" && key != "time" && value.is_number()) row.values[key] = value.get<double>();
    run.metrics.push_back(std::move(row));
  });
}

SampleRow sample_of(const Json& j, std::int64_t step) {
  SampleRow s;
  s.step = step;
  s.sample = static_cast<std::int64_t>(number_of(j, "sample").value_or(0));
  s.prompt_id = text_of(j, "prompt_id"), s.prompt = text_of(j, "prompt"), s.reference = text_of(j, "reference");
  s.completion = text_of(j, "completion"), s.stop = text_of(j, "stop"), s.verdict = text_of(j, "verdict"), s.detail = text_of(j, "detail");
  s.tokens = static_cast<std::int64_t>(number_of(j, "tokens").value_or(0));
  s.reward = number_of(j, "reward").value_or(0);
  s.advantage = number_of(j, "advantage");
  if (const auto it = j.find("rewards"); it != j.end() && it->is_object())
    for (const auto& [key, value] : it->items())
      if (value.is_number()) s.rewards[key] = value.get<double>();
  if (const auto it = j.find("columns"); it != j.end() && it->is_object())
    for (const auto& [key, value] : it->items()) s.columns[key] = value.is_string() ? value.get<std::string>() : value.dump();
  return s;
}

void add_evaluated(RunData& run, std::int64_t step, const Json& j) {
  const auto completions = j.find("completions");
  if (completions == j.end()) return;  // a reward model's pairs: their numbers are in the metrics
  std::int64_t next = 0;
  for (const Json& c : *completions) {
    SampleRow s = sample_of(c, step);
    s.completion = text_of(c, "text");
    s.prompt_id = text_of(j, "id"), s.prompt = text_of(j, "prompt"), s.reference = text_of(j, "reference");
    s.greedy = next == 0 && j.contains("greedy_correct");
    s.sample = next++;
    run.evaluations[step].push_back(std::move(s));
  }
}

// Files step_000010.jsonl of a folder, by step.
std::map<std::int64_t, fs::path> step_files(const fs::path& dir) {
  std::map<std::int64_t, fs::path> files;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(dir, none))
    if (entry.path().extension() == ".jsonl")
      if (const auto step = step_of_name(entry.path().stem().string())) files[*step] = entry.path();
  return files;
}

void load_samples(RunData& run) {
  for (const auto& [step, file] : step_files(run.path / "samples"))
    read_rows(file, run.problems, [&, at = step](const Json& j) { run.samples[at].push_back(sample_of(j, at)); });
  for (const auto& [step, file] : step_files(run.path / "eval"))
    read_rows(file, run.problems, [&, at = step](const Json& j) { add_evaluated(run, at, j); });
  std::error_code none;
  const fs::path audit = run.path / "audit" / "disagreements.jsonl";
  if (!fs::exists(audit, none)) return;
  read_rows(audit, run.problems, [&](const Json& j) {
    const Json &reward = j.at("reward"), &second = j.at("audit");
    run.disagreements.push_back({j.at("step").get<std::int64_t>(), text_of(j, "prompt_id"), text_of(j, "kind"), text_of(j, "prompt"),
                                 text_of(j, "reference"), text_of(j, "completion"), text_of(reward, "verdict"), text_of(reward, "answer"),
                                 text_of(second, "verdict"), text_of(second, "answer"), text_of(second, "why")});
  });
}

// "key: value  # origin" lines of the YAML, in file order, by value: the origin stands behind the last two spaces and hash.
std::vector<std::string> origins(const std::string& yaml) {
  std::vector<std::string> all;
  for (std::size_t begin = 0; begin < yaml.size();) {
    const std::size_t end = std::min(yaml.find('\n', begin), yaml.size());
    const std::string line = yaml.substr(begin, end - begin);
    if (const std::size_t at = line.rfind("  # "); at != std::string::npos) all.push_back(line.substr(at + 4));
    begin = end + 1;
  }
  return all;
}

void load_config(RunData& run) {
  const fs::path file = run.path / "config.yaml";
  std::error_code none;
  if (!fs::exists(file, none)) {
    run.problems.push_back("config.yaml is missing: the folder holds no run, or its start was interrupted");
    return;
  }
  try {
    const std::string yaml = read_file(file);
    const ResolvedConfig config(Config::parse(yaml, file.string()).root());
    const auto lines = config.lines();
    const auto from = origins(yaml);
    for (std::size_t i = 0; i < lines.size(); ++i)
      run.config.push_back({lines[i].key, lines[i].value, from.size() == lines.size() ? from[i] : ""});
    run.config_digest = to_hex(config.digest());
    // eval.seed and others follow the seed unless they are set.
    std::vector<std::string> of_a_start = {"output", "train.threads"};
    for (const auto& line : lines)
      if (line.key == "seed" || line.key.ends_with(".seed")) of_a_start.push_back(line.key);
    run.group = to_hex(config.digest(of_a_start));
    for (const auto& line : lines) {
      if (line.key == "kind") run.kind = line.value;
      if (line.key == "seed") run.seed = line.value;
    }
  } catch (const Error& e) {
    run.problems.push_back(e.what());
  }
}

void load_environment(RunData& run) {
  const fs::path file = run.path / "environment.json";
  std::error_code none;
  if (!fs::exists(file, none)) return;
  const Json j = Json::parse(read_file(file), nullptr, false);
  const auto starts = j.is_object() ? j.find("starts") : j.end();
  if (!j.is_object() || starts == j.end() || !starts->is_array()) {
    run.problems.push_back("environment.json is damaged; the environment is not shown");
    return;
  }
  for (const Json& start : *starts) {
    if (!start.is_object()) continue;
    std::map<std::string, std::string> facts;
    for (const auto& [key, value] : start.items()) facts[key] = value.is_string() ? value.get<std::string>() : value.dump();
    run.starts.push_back(std::move(facts));
  }
}

void load_checkpoints(RunData& run) {
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(run.path / "checkpoints", none)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_symlink() || !step_of_name(name)) continue;
    CheckpointInfo info{name, "", 0, check_manifest(entry.path(), false)};
    const fs::path manifest = entry.path() / kManifestName;
    const Json j = fs::exists(manifest, none) ? Json::parse(read_file(manifest), nullptr, false) : Json();
    if (j.is_object()) {
      info.digest = text_of(j, "files_xxh3_128");
      if (const auto files = j.find("files"); files != j.end() && files->is_object())
        for (const auto& [file, facts] : files->items()) info.bytes += static_cast<std::uint64_t>(number_of(facts, "bytes").value_or(0));
    }
    run.checkpoints.push_back(std::move(info));
  }
  std::sort(run.checkpoints.begin(), run.checkpoints.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
}

}  // namespace

RunData load_run(const fs::path& dir) {
  RunData run;
  run.path = dir;
  const fs::path clean = fs::absolute(dir).lexically_normal();
  run.name = (clean.has_filename() ? clean : clean.parent_path()).filename().string();
  std::error_code none;
  if (!fs::is_directory(dir, none)) {
    run.problems.push_back("no such folder");
    return run;
  }
  const auto part = [&](void (*load)(RunData&)) {
    try {
      load(run);
    } catch (const std::exception& e) {  // a file that vanished or may not be read costs that part only
      run.problems.push_back(e.what());
    }
  };
  for (const auto load : {load_config, load_environment, load_metrics, load_samples, load_checkpoints}) part(load);
  run.finished = fs::exists(dir / "finished", none);
  return run;
}

}  // namespace r1::report
