// Completions from an OpenAI-compatible URL: /chat/completions or /completions.
#pragma once

#include <string>

#include "proto/http_json.h"
#include "rollout/text_client.h"

namespace r1 {

struct HttpTextOptions : HttpJsonOptions {  // the endpoint is added to the url where it is missing
  std::string model;       // as the server calls it
  bool chat = true;        // messages to /chat/completions; false: the prompt's text to /completions
  // chat: the reply is forced to begin with this ("<think>\n"), as an assistant turn that the server goes on with
  // (add_generation_prompt: false, continue_final_message: true, as vLLM and SGLang have them). The reply does not repeat it.
  std::string opening;
  std::string extra_json;  // an object merged into each request; null takes a key out
};

// top_k, min_p and stop are sent where they are set. A reply's reasoning_content (or reasoning) stands before its content
// as <think>..</think>. finish_reason length is kLength, anything else kEos. HTTP 4xx other than 408 and 429 is kRefused.
// Throws ConfigError as HttpJson does.
TextClient make_http_text(HttpTextOptions options);

}  // namespace r1
