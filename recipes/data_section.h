// Where a recipe's prompts come from, and how they are loaded and checked.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/types.h"
#include "rewards/rubric.h"
#include "text/dataset.h"
#include "text/tokenizer.h"

namespace r1 {

// Made-up tasks in place of a file: the rows of `r1 data TASK --level L --n N --seed S`.
struct GeneratedData {
  std::string task;  // add, mul, countdown, ...
  int level = 1;
  std::int64_t rows = 0;  // n
  std::int64_t seed = 0;
  std::string split;      // train or test; they never share a prompt
  bool distinct = false;  // the first n different prompts (small tasks repeat theirs)
  bool worked = false;    // rows have a completion that works the answer out; not in prompts
  bool pairs = false;     // rows have chosen and rejected worked answers
};
// The first `limit` (0 = all) of its rows. `key` stands in errors. Throws ConfigError where there are not so many different prompts.
std::vector<Row> generate_rows(const GeneratedData& generate, std::int64_t limit, const std::string& key);

// data: (and, for evaluation, the same with eval's own source)
struct DataSection {
  std::vector<std::string> files;         // path: one or several files or patterns (JSON lines, .gz, .zst)
  std::optional<GeneratedData> generate;  // generate: {task, level, n, seed, distinct}; instead of path
  std::string prompt, answer, id, task;   // columns; empty = the usual names of TRL, open-r1, verl, GSM8K, MATH
  std::string default_task;               // the task of rows without such a column; picks rewards by their `tasks`
  std::string format = "chat";            // template: chat (the model's chat template), r1_zero, none, file
  std::string template_file;              // template: file: a Jinja chat template, or plain text with {question} in it
  std::string system_prompt;              // chat only: a system message before rows that have none
  std::string instruction;                // appended to each question after a line break
  std::string template_variables;         // chat only: JSON object for the template, e.g. {enable_thinking: false}
  int max_prompt_tokens = 0;              // longer prompts are bad rows; 0 = no limit of its own
  std::int64_t limit = 0;                 // the first so many rows; 0 = all
  bool shuffle = true;
  bool skip_bad_rows = false;  // on_error: error (stop before step 1) or skip (counted and reported)
};

// How the rows of its files are read and rendered.
DatasetOptions dataset_options(const DataSection& data);

struct RecipePrompts {
  std::vector<Prompt> prompts;
  std::vector<std::string> skipped;  // a message for each row left out; empty unless skip_bad_rows
};

// What the readers of data files are told of it.
DatasetOptions dataset_options(const DataSection& data);

// Reads or makes all rows, applies the template, and lets the rubric check every prompt (readable gold, columns its
// rewards need). `key` ("data", "eval") stands in errors. Throws DataError (bad rows: the first few and their number;
// nothing left) and ConfigError.
RecipePrompts load_recipe_prompts(const DataSection& data, const std::string& key,
                                  std::shared_ptr<const Tokenizer> tokenizer, const Rubric& rubric);

}  // namespace r1
