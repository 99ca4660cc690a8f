// A model behind an OpenAI-compatible URL, for the judge.
#pragma once

#include <string>

#include "core/config.h"
#include "proto/http_json.h"
#include "rewards/judge/chat.h"

namespace r1 {

struct HttpChatOptions : HttpJsonOptions {  // /chat/completions is added to the url where it is missing
  std::string model;       // as the server calls it
  std::string extra_json;  // an object merged into each request; null takes a key out
};

// Throws ConfigError as HttpJson does, and for extra_json that is no object.
ChatClient make_http_chat(HttpChatOptions options);
// From a recipe entry: url, model, api_key_env (an environment variable's name), timeout, retries, retry_wait, ca_file,
// extra.
ChatClient make_http_chat(ConfigReader& options);

}  // namespace r1
