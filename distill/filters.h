// What a sample must satisfy to get into a set (rejection sampling as in DeepSeek-R1, arXiv 2501.12948, 2.3.3). Pure functions of
// prompt, completion and score.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/types.h"
#include "rewards/format.h"
#include "rewards/reward.h"

namespace r1 {

// Each is off unless set. They are asked in this order; a sample is counted at the first that refuses it.
struct FilterOptions {
  bool finished = false;                 // it ended by itself, by an end token or a stop string
  std::optional<FormatOptions> format;   // one think block, then an answer
  bool correct = false;                  // its verdict is ok
  std::optional<double> language;        // least share of the chain's words in the language that is wanted
  std::string language_code = "prompt";  // which: a code or name; prompt: the row's column "language", else the question's
  struct Repetition {
    int ngram = 10;          // words (dictionary words where there are no spaces)
    int max_count = 4;       // no n-gram occurs more often
    double max_share = 0.2;  // nor is a larger share of all n-grams a repetition
  };
  std::optional<Repetition> repetition;
  int max_paragraph = 0;                 // characters between blank lines; 0 = any
  bool no_code = false;                  // no fenced code block in the chain
  std::vector<std::string> code_tasks = {"code"};  // tasks whose chains may hold code
  struct Length {
    std::int64_t min_tokens = 0, max_tokens = 0;          // 0 = any. Where a server does not tell tokens these refuse nothing
    std::int64_t min_characters = 0, max_characters = 0;  // 0 = any
  };
  std::optional<Length> length;
};

struct Rejection {
  std::string_view filter;  // "finished", "format", ...
  std::string why;
};

// Immutable; thread-safe.
class FilterChain {
 public:
  // Throws ConfigError for a language that is not known.
  explicit FilterChain(const FilterOptions& options);
  const std::vector<std::string_view>& names() const { return names_; }  // of those that are set, in order
  // `prompt.text` ends as the rendered prompt does. A language that cannot be told (no known one for the question, too few
  // words) refuses nothing.
  std::optional<Rejection> judge(const Prompt& prompt, const Completion& completion, const Score& score) const;

 private:
  FilterOptions options_;
  std::unique_ptr<RewardFunction> language_;
  std::vector<std::string_view> names_;
};

// The chain of thought: the think block, or all where there is none.
std::string_view chain_of(std::string_view completion, bool opened_by_prompt);
std::int64_t characters(std::string_view utf8);          // code points
std::int64_t longest_paragraph(std::string_view utf8);   // in characters; paragraphs end at blank lines
int most_repeated(std::string_view utf8, int ngram);     // how often the most frequent n-gram of words occurs; 0 = too short
bool has_code_block(std::string_view text);              // a line that begins with ``` or ~~~

}  // namespace r1
