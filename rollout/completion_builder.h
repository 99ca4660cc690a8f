// Collects one completion token by token: numbers, text where it is needed early, the weights behind each token, and
// the reason to stop. Not thread-safe.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/types.h"
#include "rollout/stop_matcher.h"
#include "text/tokenizer.h"

namespace r1 {

class CompletionBuilder {
 public:
  // `tokenizer` may be null: then there is no text, and `rules` must not have stop strings.
  CompletionBuilder(std::shared_ptr<const StopRules> rules, std::shared_ptr<const Tokenizer> tokenizer, bool want_entropy);

  // Adds a drawn token; the reason if it ends the completion. `stream`: its text will be asked for by take_text().
  std::optional<StopReason> add(TokenId token, float logprob, float entropy, WeightVersion version, const WeightDigest& digest, bool stream);
  // Streaming: whole characters not taken before. What may begin a stop string is held back, except with `all`.
  std::string take_text(bool all);
  // The completion of these tokens, those that were added. Call once.
  Completion finish(std::vector<TokenId> tokens, StopReason reason);

 private:
  std::shared_ptr<const StopRules> rules_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  bool want_entropy_;
  Completion completion_;
  std::int32_t count_ = 0;
  StopMatcher matcher_;
  std::optional<IncrementalDecoder> decoder_;
};

}  // namespace r1
