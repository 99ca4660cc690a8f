// JSON posted to a URL, with retries and a deadline. The one user of the HTTP library; this header names none of its types.
#pragma once

#include <memory>
#include <string>

namespace r1 {

struct HttpJsonOptions {
  std::string url;         // "https://host:port/v1"; the endpoint is added where it is missing
  std::string api_key;     // sent as a bearer token; "" = none. Never logged
  std::string ca_file;     // roots to trust for https; "" = the system's
  double timeout_s = 60;   // of a post with all its retries
  int retries = 4;         // after 408, 429, 5xx and lost connections
  double retry_wait_s = 0.5;  // before the first retry; doubled each time, and Retry-After is kept to
};

struct HttpReply {
  enum class Status { kBody, kTimeout, kFailed } status = Status::kFailed;
  std::string text;   // the body; for failures a sentence for people
  std::string cause;  // for failures a short word to count by: "HTTP 500", "no connection", "timeout"
  int code = 0;       // HTTP status; 0 = there was none
};

// Connections are kept open and never follow redirects (the key would go along). post() is thread-safe. In a program that was built without an
// HTTP library the constructor throws ConfigError.
class HttpJson {
 public:
  // `endpoint`: "/chat/completions". Throws ConfigError for a URL that cannot be read and for https without TLS.
  HttpJson(HttpJsonOptions options, const std::string& endpoint);
  ~HttpJson();
  HttpReply post(const std::string& body);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The key in an environment variable, to be sent to this URL; "" for no variable. Throws ConfigError if it is not set, or
// if the key would go to another machine in clear text.
std::string api_key_from(const std::string& variable, const std::string& url);

}  // namespace r1
