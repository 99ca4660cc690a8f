// Rows of data files -> training examples: TRL's and open-r1's column forms, the limit of length, and one example shown to people.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/types.h"
#include "sft/training_text.h"
#include "text/dataset.h"

namespace r1 {

struct SftExample {
  std::string name;                     // "file:line", with "#2" behind it for the second text of a conversation
  std::vector<TokenId> tokens;          // [T]
  std::vector<std::uint8_t> loss_mask;  // [T] 1 = its prediction is trained; entry 0 is 0, the last is 1
};
std::int64_t trained_tokens(const SftExample& example);

// What becomes of an example above max_length tokens. The counts are reported.
enum class Overlong : std::uint8_t {
  kError,     // stops before step 1
  kSkip,      // left out
  kTruncate,  // cut: such a text has no stop token at its end
};
Overlong parse_overlong(std::string_view name);  // error, skip, truncate; throws ConfigError

struct SftRowOptions {
  DatasetOptions dataset;           // files, template, id; prompt_column
  std::string messages_column;      // empty = messages
  std::string completion_column;    // empty = the first that a row has of: completion, response, output, solution, answer
  std::int64_t max_length = 0;      // tokens; 0 = no limit
  Overlong overlong = Overlong::kError;
};

struct SftRows {
  std::vector<SftExample> examples;
  std::vector<std::string> skipped;  // a message for each bad row left out; empty unless skip_bad_rows
  std::int64_t rows = 0, too_long = 0, truncated = 0;
  std::int64_t split = 0;            // conversations that became one example a turn (sft/training_text.h)
};

// The forms, in this order: a list of messages; prompt and completion (both texts, or both lists of messages); text. A text prompt is
// one user turn where the template is a chat template, else the template's {question}. Immutable; thread-safe.
class SftExampleMaker {
 public:
  SftExampleMaker(SftRowOptions options, std::shared_ptr<const Tokenizer> tokenizer, std::vector<TokenId> stop_tokens);
  // Throws DataError that names file, line, column and remedy.
  void add(const Row& row, SftRows& out) const;

 private:
  std::vector<TrainingText> texts(const Row& row) const;
  SftRowOptions options_;
  TrainingTextMaker maker_;
};

// Checks all rows. Throws DataError (bad rows, none left), ConfigError.
SftRows make_sft_rows(const std::vector<Row>& rows, const SftRowOptions& options, std::shared_ptr<const Tokenizer> tokenizer,
                      const std::vector<TokenId>& stop_tokens);
// The same for the rows of files.
SftRows load_sft_rows(const SftRowOptions& options, std::shared_ptr<const Tokenizer> tokenizer, const std::vector<TokenId>& stop_tokens);

// The example's text with what is trained given to `mark` piece by piece.
std::string marked_text(const SftExample& example, const Tokenizer& tokenizer, const std::function<std::string(const std::string&)>& mark);

}  // namespace r1
