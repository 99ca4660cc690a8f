// A model that answers chat messages, as the judge sees it. Clients live elsewhere: over HTTP in proto/http_chat.h, in
// front of the rollout engine in recipes/engine_chat.h.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/types.h"

namespace r1 {

struct ChatRequest {
  std::vector<Message> messages;
  double temperature = 0;
  int max_tokens = 1024;   // of the reply
  std::uint64_t seed = 0;  // differs between votes
  double top_p = 1;
  std::vector<std::string> stop = {};  // strings that end the reply; they are cut off
};

// Failures are data: a judge that cannot be asked abstains, the run goes on.
struct ChatReply {
  enum class Status { kText, kTimeout, kFailed } status = Status::kFailed;
  std::string text;   // the reply; for failures a sentence for people
  std::string cause;  // for failures a short word to count by: "HTTP 500", "no connection", "timeout"
  // Of a text, as far as the model's side tells:
  std::string reasoning = {};  // chain of thought that it keeps apart from the text
  std::string finish = {};     // "stop", "length"
  std::int64_t tokens = -1;    // of the reply
};

struct ChatClient {
  std::function<ChatReply(const ChatRequest&)> ask;  // thread-safe; retries and its deadline are its own affair
  std::string identity;                              // names the model: replies of another one are not taken from a cache
};

}  // namespace r1
