// Writes what a run leaves behind: a metrics record a step, whole transcripts every few steps.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "core/metrics.h"
#include "rl/train_observer.h"

namespace r1 {

class RunRecorder : public TrainObserver {
 public:
  struct Options {
    std::int64_t samples_every = 10;  // updates; 0 = never. At the first rollout that begins at or after each multiple
    int sample_groups = 8;            // of each such rollout; 0 = all
    std::int64_t first_step = 0;      // done before this start
    std::function<std::filesystem::path(std::int64_t step)> samples_file;  // e.g. RunFolder::samples; empty = no files
    std::filesystem::path eval_items;  // a folder for per-item results, eval/step_000020.jsonl; empty = none
  };
  // `metrics` may be null and outlives the recorder.
  RunRecorder(MetricsWriter* metrics, Options options);

  void on_step(const StepRecord& record) override;
  void on_evaluation(std::int64_t step, const EvalReport& report) override;
  void on_validation(std::int64_t step, const std::map<std::string, double>& metrics) override;
  void on_checkpoint(std::int64_t step, const std::filesystem::path& path) override;

 private:
  MetricsWriter* metrics_;
  Options options_;
  std::int64_t next_samples_;
};

// JSON lines of the first `groups` groups (0 = all): step, prompt id and text, completion, tokens, stop reason, reward
// and its parts, verdict, detail, what was parsed, advantage (null where the sample was not trained on).
std::string transcripts(const StepRecord& record, int groups);

}  // namespace r1
