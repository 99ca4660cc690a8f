// Rows of data files -> preference sets: TRL's column forms and this project's.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "preference/preference_set.h"
#include "sft/examples.h"

namespace r1 {

struct PreferenceRowOptions {
  // Files, template, lengths; prompt_column. The completion's column is chosen, rejected or response. overlong: error or skip.
  SftRowOptions sft;
  bool pairs = true;
  std::string chosen_column, rejected_column;  // empty = chosen, rejected
  std::string response_column, label_column;   // empty = the first of response, completion, output, answer; label
};

struct PreferenceRows {
  PreferenceSet set;
  std::vector<std::string> skipped;  // a message for each bad row left out; empty unless skip_bad_rows
  std::int64_t rows = 0, too_long = 0;
};

// Pairs: prompt (a text or a list of messages) or messages (the turns before the answer), with chosen and rejected, each a text or a
// list of messages; without either, chosen and rejected are whole conversations that begin alike. Labelled answers: prompt or messages,
// the response, and label: true or false, or a number from 0 to 1; without a response, messages ends with it. Answers end with the model's
// stop token; names are "file:line". Throws DataError that names file, line, column and remedy (also if nothing is left), ConfigError.
PreferenceRows make_preference_rows(const std::vector<Row>& rows, const PreferenceRowOptions& options, std::shared_ptr<const Tokenizer> tokenizer,
                                    const std::vector<TokenId>& stop_tokens);
// The same of options.sft's files.
PreferenceRows load_preference_rows(const PreferenceRowOptions& options, std::shared_ptr<const Tokenizer> tokenizer,
                                    const std::vector<TokenId>& stop_tokens);

}  // namespace r1
