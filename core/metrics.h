// Numbers of a run: one JSON line a step in metrics.jsonl and the same numbers as TensorBoard scalars.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/files.h"

namespace r1 {

// Mean, extremes and spread of what was added. Weights >= 0; NaN goes through to every statistic. Welford's update.
class Statistics {
 public:
  void add(double value, double weight = 1.0);
  std::int64_t count() const { return count_; }
  double sum() const { return mean_ * weight_; }
  double mean() const;  // NaN if empty
  double min() const;   // NaN if empty
  double max() const;
  double std() const;   // population form (divides by the weight); NaN if empty

 private:
  std::int64_t count_ = 0;
  double weight_ = 0, mean_ = 0, square_ = 0, min_ = 0, max_ = 0;
};

class TensorBoardWriter;

// Not thread-safe. Throws IoError (disk full).
class MetricsWriter {
 public:
  struct Options {
    std::filesystem::path jsonl;         // appended to; empty = none
    std::filesystem::path tensorboard;   // a folder, made if missing; empty = none
    // Set on resume: records of later steps are cut, since those steps come again. Unset = a new run: all records go.
    std::optional<std::int64_t> keep_until_step;
  };
  explicit MetricsWriter(const Options& options);
  ~MetricsWriter();
  MetricsWriter(const MetricsWriter&) = delete;
  MetricsWriter& operator=(const MetricsWriter&) = delete;

  // {"step":..,"time":seconds since 1970,name:value,...}; NaN and infinities become null (TensorBoard shows NaN).
  void write(std::int64_t step, const std::vector<std::pair<std::string, double>>& values);
  // A text summary (a sample, the recipe) for TensorBoard only; Markdown.
  void write_text(std::int64_t step, const std::string& name, const std::string& markdown);
  void sync();  // to the disk; call it with each checkpoint

 private:
  std::optional<File> jsonl_;
  std::unique_ptr<TensorBoardWriter> tensorboard_;
};

// Rewrites a file of JSON lines without the records whose "step" is greater than `step` (none = without all), and
// without a torn last line. A missing file is fine. Returns how many records were cut.
std::int64_t cut_records_after(const std::filesystem::path& jsonl, std::optional<std::int64_t> step);

}  // namespace r1
