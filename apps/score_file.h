// Scores completions that exist already: a file of rows in, the same rows with the rewards' columns out.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "rewards/rubric.h"
#include "text/dataset.h"
#include "text/tokenizer.h"

namespace r1 {

struct ScoreFileOptions {
  DatasetOptions data;
  // Empty = the first that a row has of: completion, completions, response, responses, output, outputs, generation.
  // A text; {"text" | "content", "stop" | "finish_reason"}; a list of messages (the last assistant turn counts); or a
  // list of any of these: a group. Without a stop reason a completion counts as ended.
  std::string completion_column;
  std::string out;
  std::string settings;  // names the rewards and their options: work begun under other settings is not continued
  std::shared_ptr<const Tokenizer> tokenizer;  // counts tokens for rewards that measure length; null = none of them
  int threads = 1;
  bool score_bad_rows = false;  // rows that the rewards refuse: false = DataError before anything is scored
};

struct ScoreSummary {
  struct Column {
    std::int64_t count = 0, abstained = 0;
    double sum = 0, lowest = 0, highest = 0;
  };
  std::int64_t rows = 0, resumed = 0, completions = 0;
  std::map<std::string, Column> columns;         // "reward", and "reward.LABEL" of each
  std::map<std::string, std::int64_t> verdicts;  // ok, wrong, unparsed, ...
  std::string bad_rows;                          // with score_bad_rows: what the rewards refuse; empty = nothing
  std::string table() const;                     // for people; ends with a line break
};

// Each row keeps its columns and gets reward (the weighted sum), reward.LABEL (null = abstained), verdict, detail and
// score_columns (what the rewards read, as a map); lists of them where the row holds a list of completions. Rows keep
// their order. The work grows in OUT.partial, which a later call with the same input and settings continues; at the end
// it takes the place of OUT. Throws DataError, ConfigError, IoError; Interrupted after a stop signal, with the work
// kept. `progress` is called after each row.
ScoreSummary score_file(const Rubric& rubric, const ScoreFileOptions& options,
                        const std::function<void(std::int64_t done, std::int64_t total)>& progress = {});

}  // namespace r1
