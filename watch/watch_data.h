// What the page of `r1 watch` asks for, as JSON or HTML text made from run folders. Damaged or missing files cost their part only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "replay/recorded_run.h"
#include "text/tokenizer.h"

namespace r1::watch {

// Thread-safe.
class WatchData {
 public:
  // `tokenizer` gives a run's tokenizer, or null: token numbers are shown then. Throws ConfigError for a folder without a run.
  WatchData(std::vector<std::filesystem::path> runs, std::function<std::shared_ptr<const Tokenizer>(const RecordedRun&)> tokenizer);

  // {"version", "runs": [{"name", "path", "kind", "finished", "step", "steps", "rollouts": [first updates]}]}; `version` changes when
  // any run has written something.
  std::string state() const;
  // The report's summary and curves over all runs (report/page.h), as HTML sections.
  std::string curves() const;
  // {"step", "total", "rows": [...]} of one rollout: rows that carry `flag` ("" = all) and whose prompt, completion or gold contains
  // `search` (letter case ignored), from `offset` on, at most `limit`. step < 0: the last rollout. Throws ConfigError, DataError.
  std::string samples(std::size_t run, std::int64_t step, const std::string& flag, const std::string& search, std::size_t offset, std::size_t limit) const;
  // Everything of one sample: texts, scores, its group, and a list of tokens with what the updates did.
  std::string sample(std::size_t run, std::int64_t step, std::size_t group, std::size_t sample) const;

  const std::vector<RecordedRun>& runs() const { return runs_; }

 private:
  struct Opened {
    RecordedRollout rollout;
    std::vector<RecordedUpdate> updates;
  };
  std::shared_ptr<const Opened> open(std::size_t run, std::int64_t step) const;
  std::int64_t last_rollout(std::size_t run) const;

  std::vector<RecordedRun> runs_;
  std::function<std::shared_ptr<const Tokenizer>(const RecordedRun&)> make_tokenizer_;
  mutable std::mutex mutex_;  // guards what follows
  mutable std::vector<std::shared_ptr<const Tokenizer>> tokenizers_;  // as made, once a run
  mutable std::vector<bool> asked_;
  // The rollout looked at last: a table and its samples are asked for one after the other.
  mutable std::size_t cached_run_ = 0;
  mutable std::int64_t cached_step_ = -1;
  mutable std::uint64_t cached_size_ = 0;
  mutable std::shared_ptr<const Opened> cached_;
};

}  // namespace r1::watch
