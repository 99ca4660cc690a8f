// A model that is asked in text or messages, as opposed to tokens: one behind a URL (proto/http_text.h). Failures are data.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "core/types.h"
#include "rollout/engine.h"

namespace r1 {

struct TextRequest {
  const Prompt* prompt = nullptr;  // messages, or text for a model without a chat template
  SamplingOptions sampling;        // temperature 0 = greedy
  std::uint64_t seed = 0;
};
struct TextReply {
  enum class Status { kText, kFailed, kRefused } status = Status::kFailed;  // kRefused: asking again is no use (401, 404, ...)
  std::string text;         // for failures a sentence for people
  StopReason stop = StopReason::kEos;
  std::int64_t tokens = -1;  // of the completion, as the server counts; -1 = it does not say
};
using TextClient = std::function<TextReply(const TextRequest&)>;  // thread-safe; retries are its own affair

}  // namespace r1
