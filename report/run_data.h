// What a run folder holds, read for the report: every file may be missing, torn or of another kind of training, and what
// is wrong becomes a line of `problems` while the rest is kept.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace r1::report {

struct MetricRow {
  std::int64_t step = 0;
  double time = 0;                       // seconds since 1970
  std::map<std::string, double> values;  // null (NaN in the run) is left out
};

// One completion with what was paid for it: a row of samples/, or one completion of a row of eval/.
struct SampleRow {
  std::int64_t step = 0, sample = 0;
  std::string prompt_id, prompt, reference, completion, stop, verdict, detail;
  std::int64_t tokens = 0;
  double reward = 0;
  std::map<std::string, double> rewards;
  std::map<std::string, std::string> columns;  // what the checkers read: gold_parsed, answer_parsed, ...
  std::optional<double> advantage;
  bool greedy = false;                         // evaluation only
};

struct Disagreement {
  std::int64_t step = 0;
  std::string prompt_id, kind, prompt, reference, completion;
  std::string reward_verdict, reward_answer, audit_verdict, audit_answer, audit_why;
};

struct ConfigLine {
  std::string key, value, origin;  // origin is empty where config.yaml has no comment for it
};

struct CheckpointInfo {
  std::string name, digest;  // digest of all files, empty where the manifest has none
  std::uint64_t bytes = 0;
  std::string problem;       // empty: complete
};

// One part (greedy or sampled) of one benchmark of a `kind: eval` stage.
struct BenchmarkScore {
  std::string name, part;
  std::int64_t items = 0;
  double accuracy = 0, low = 0, high = 0;  // mean over items of the share right; 95 %: Wilson at one sample an item, else bootstrap
};

// The completions of one benchmark of a `kind: eval` stage. `prompt` is the question, columns["language"] its language where the data says one.
struct BenchmarkTexts {
  std::string name;
  std::vector<SampleRow> rows;
};

// What a pipeline records of a finished stage (stage.json).
struct StageFacts {
  std::string key, output, score;     // output: digest of what the stage made; score: for people
  std::vector<std::string> needs;
  double seconds = 0;                 // of the start that finished it
};

struct RunData {
  std::filesystem::path path;
  std::string name;      // the folder's
  std::string kind;      // grpo, sft, ...; empty = not known
  std::string config_digest, group;  // 32 hex; `group` leaves out seeds and output, so that seeds of one recipe share it
  std::string seed;
  bool finished = false;
  std::vector<ConfigLine> config;
  std::vector<std::map<std::string, std::string>> starts;      // environment.json, oldest first
  std::vector<MetricRow> metrics;                              // in the order of the file
  std::map<std::int64_t, std::vector<SampleRow>> samples;      // training transcripts by step
  std::map<std::int64_t, std::vector<SampleRow>> evaluations;  // held-out completions by step
  std::vector<Disagreement> disagreements;
  std::vector<CheckpointInfo> checkpoints;
  std::vector<BenchmarkScore> benchmarks;
  std::vector<BenchmarkTexts> benchmark_texts;
  std::string pipeline;                                        // of a stage: its pipeline's folder
  std::optional<StageFacts> stage;
  std::vector<std::string> problems;

  bool empty() const { return metrics.empty() && config.empty() && samples.empty() && evaluations.empty() && benchmarks.empty() && !stage; }
};

RunData load_run(const std::filesystem::path& dir);

}  // namespace r1::report
