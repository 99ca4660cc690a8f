// Data sets of prompts: JSON lines (also .gz and .zst), a JSON array or Parquet, columns by name, a template, and an order
// that a resumed run repeats.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/types.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace r1 {

// One row of a file, unchecked.
struct Row {
  std::string file;
  std::int64_t line = 0;                       // from 1; of a JSON array: the element's number; of Parquet: the row's
  std::map<std::string, std::string> columns;  // each value as JSON text
};

struct DatasetOptions {
  std::vector<std::string> paths;  // files or glob patterns, read in this order
  // Empty = the first that a row has of: prompt, messages, question, problem, instruction, query, input.
  std::string prompt_column;
  // Empty = reward_model.ground_truth (verl), answer, solution, final, ground_truth, golden, reference; none of them
  // is allowed.
  std::string answer_column;
  std::string id_column;    // empty = id, if there is one; rows without it are named by their number
  std::string task_column;  // empty = task, if there is one
  std::string task;         // the task of rows without such a column

  // chat: the model's own chat template. r1_zero: kR1ZeroTemplate. none: the prompt as it is. file: template_file.
  std::string prompt_template = "chat";
  std::string template_file;       // a Jinja chat template, or plain text with {question} in it
  std::string system_prompt;       // chat only: a system turn before rows that have none
  std::string prompt_suffix;       // appended to the question as it is, e.g. "\nPut the answer in \\boxed{}."
  std::string template_variables;  // chat only: JSON object, e.g. {"enable_thinking": false}
  std::int64_t max_prompt_tokens = 0;  // 0 = no limit
  std::int64_t limit = 0;              // only the first rows; 0 = all
  bool skip_bad_rows = false;          // data.on_error: skip
};

// Rows one by one, in order; memory does not grow with the files. Errors are those of read_rows(). Not thread-safe.
class RowReader {
 public:
  // `skipped` (may be null) outlives the reader.
  explicit RowReader(const DatasetOptions& options, std::vector<std::string>* skipped = nullptr);
  ~RowReader();
  RowReader(const RowReader&) = delete;
  RowReader& operator=(const RowReader&) = delete;
  bool next(Row& row);  // false at the end

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Reads all rows. Throws DataError that names file and line for bad JSON (unless skipped: then `skipped` gets the
// message), and for a pattern without files, a cut-off archive, or no rows at all.
std::vector<Row> read_rows(const DatasetOptions& options, std::vector<std::string>* skipped = nullptr);

// What a row says without any template: id, task, reference, columns; and, where it has a prompt column, the question as
// text and as a message. No tokens. `number` names a row without an id. Throws DataError that names file, line, column.
Prompt unrendered_prompt(const DatasetOptions& options, const Row& row, std::int64_t number);

// Turns rows into prompts. Immutable; thread-safe.
class PromptMaker {
 public:
  // Throws ConfigError for a template that the tokenizer's model does not have, an unknown name, options that have no
  // effect. Without a tokenizer (null) prompts are messages alone, for models that are asked in messages: no tokens, the
  // text is the question's; the template must be chat then.
  PromptMaker(DatasetOptions options, std::shared_ptr<const Tokenizer> tokenizer);
  ~PromptMaker();
  PromptMaker(PromptMaker&&) noexcept;

  // `number` names a row without an id. Throws DataError that names file, line, column and remedy.
  Prompt make_prompt(const Row& row, std::int64_t number) const;
  // A prompt from a question alone: what a user types, with the same template.
  Prompt make_prompt(const std::string& question) const;
  // The same for whole conversations (chat templates only).
  Prompt make_prompt(const std::vector<Message>& messages) const;

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

struct PromptSet {
  std::vector<Prompt> prompts;
  std::vector<std::string> skipped;  // one message a row left out; empty unless skip_bad_rows
};

// Reads and checks every row before it returns; ids are unique. Throws DataError, ConfigError; never returns an empty
// set.
PromptSet load_prompts(const DatasetOptions& options, std::shared_ptr<const Tokenizer> tokenizer);

}  // namespace r1
