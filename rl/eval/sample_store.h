// The samples of one benchmark on disk: what is finished survives a kill, nothing is sampled twice.
//   NAME.settings.json   everything that decides what is sampled and how it is graded
//   NAME.samples.jsonl   a line a sample, appended as they end; put in order at the end
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "core/files.h"
#include "rl/eval/grader.h"

namespace r1 {

// (id, greedy, sample)
using SampleKey = std::tuple<std::string, bool, int>;
inline SampleKey key_of(const GradedSample& s) { return {s.id, s.greedy, s.sample}; }

std::string to_line(const GradedSample& sample);              // JSON, without the line break
GradedSample sample_of_line(const std::string& line);         // throws DataError

class SampleStore {
 public:
  // Opens or begins `name` in the folder (made if missing). A torn last line is cut off. Throws ConfigError, naming the
  // first setting that differs, if work of other settings lies there; "samples" and "greedy" may grow. `settings_json` is
  // an object.
  SampleStore(std::filesystem::path dir, const std::string& name, const std::string& settings_json);

  const std::map<SampleKey, GradedSample>& samples() const { return samples_; }
  // One thread at a time. The line is written before the call returns.
  void add(GradedSample sample);
  // Rewrites the file in the order given by `ids` (greedy first, then samples by number), so that a resumed run leaves the
  // bytes of an uninterrupted one.
  void finish(const std::vector<std::string>& ids);

 private:
  std::filesystem::path path_;
  std::map<SampleKey, GradedSample> samples_;
  std::optional<File> file_;
};

}  // namespace r1
