// A record drawn again from what it says of its origin.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/types.h"
#include "distill/record.h"
#include "rewards/judge/chat.h"
#include "rewards/rubric.h"
#include "rollout/engine.h"
#include "text/tokenizer.h"

namespace r1 {

struct RecordOrigin {
  RawHeader header;                   // one teacher
  RawPrompt prompt;                   // task, answer, messages without the last; columns as far as the record keeps them
  std::size_t prompt_index = 0;
  int sample = 0, samples = 1;
  std::string program, model_digest;
  std::optional<double> pass_rate;    // of the whole set: taken over
  std::vector<std::string> labels;
  std::optional<RewriterInfo> rewriter;
  bool columns = false;
};

// Reads a record of make_record(). DataError for another row; ConfigError for one that a server gave: it cannot be drawn again.
RecordOrigin origin_of(const std::string& record);

// Draws the record again: `rendered` is its prompt with tokens, `engine` runs its model, `rubric` (null = not scored) its
// rewards, `rewriter` its second model (unused without one). All samples of the prompt are drawn where there are rewards, for
// these may compare them. Throws DataError where prompt or weights are not those of the record. The record's program is
// taken over.
std::string redraw(const RecordOrigin& origin, const Prompt& rendered, RolloutEngine& engine, std::shared_ptr<const Tokenizer> tokenizer,
                   const Rubric* rubric, const ChatClient& rewriter);

// "provenance.tokens: 12, now 13" for the first field that differs; "" if the texts are equal byte by byte.
std::string first_difference(const std::string& record, const std::string& again);

}  // namespace r1
