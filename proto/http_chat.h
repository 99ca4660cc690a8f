// A model behind an OpenAI-compatible URL, for the judge. Its own target r1_http: the one user of the HTTP library.
#pragma once

#include <string>

#include "core/config.h"
#include "rewards/judge/chat.h"

namespace r1 {

struct HttpChatOptions {
  std::string url;         // "https://host:port/v1"; /chat/completions is added where it is missing
  std::string model;       // as the server calls it
  std::string api_key;     // sent as a bearer token; "" = none. Never logged
  std::string ca_file;     // roots to trust for https; "" = the system's
  std::string extra_json;  // an object merged into each request; null takes a key out
  double timeout_s = 60;   // of a question with all its retries
  int retries = 4;         // after 408, 429, 5xx and lost connections
  double retry_wait_s = 0.5;  // before the first retry; doubled each time, and Retry-After is kept to
};

// True if this program was built with an HTTP library; otherwise make_http_chat() throws ConfigError.
bool http_available();

// Connections are kept open and never follow redirects (the key would go along). Throws ConfigError for a URL that
// cannot be read, https without TLS, and a key for plain http to another machine.
ChatClient make_http_chat(HttpChatOptions options);
// From a recipe entry: url, model, api_key_env (an environment variable's name), timeout, retries, retry_wait, ca_file,
// extra.
ChatClient make_http_chat(ConfigReader& options);

}  // namespace r1
