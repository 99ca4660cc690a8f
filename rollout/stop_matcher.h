// Decides when a completion ends: end tokens of the model, stop tokens and stop strings of the request, the budget.
// Stop strings are looked for in the decoded text without special tokens, so they may begin and end inside tokens; a
// special token is stopped at by SamplingOptions::stop_tokens. Not thread-safe.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/types.h"
#include "rollout/engine.h"

namespace r1 {

// What stops the samples of one request; immutable, shared by them.
struct StopRules {
  StopRules() = default;
  // `end_tokens`: the model's; left out with options.ignore_eos. Stop tokens and strings count in any case.
  StopRules(const SamplingOptions& options, std::span<const TokenId> end_tokens);

  std::vector<TokenId> end_tokens, stop_tokens;  // sorted
  std::vector<std::string> strings;
  int max_new_tokens = 0;
};

// The state of one completion.
class StopMatcher {
 public:
  explicit StopMatcher(std::shared_ptr<const StopRules> rules);

  // After the completion's `count`-th token, `new_text` being the whole characters it brought (only read if there are
  // stop strings). Order of precedence: end token, stop token, stop string, length.
  std::optional<StopReason> push(TokenId token, int count, std::string_view new_text);

  // Text that ends a completion without a token: an unfinished character.
  void append(std::string_view text) { text_ += text; }

  // Text that is certain not to belong to a stop string and was not taken before; with `all`, everything up to the
  // stop string.
  std::string take(bool all);
  // True if a stop string was found: then text() is the text before it.
  bool cut() const { return cut_; }
  const std::string& text() const { return text_; }  // all text pushed so far

 private:
  bool match(std::size_t new_bytes);

  std::shared_ptr<const StopRules> rules_;
  std::string text_;
  std::size_t taken_ = 0;
  bool cut_ = false;
};

}  // namespace r1
