// A URL in parts.
#pragma once

#include <optional>
#include <string>

namespace r1 {

struct HttpUrl {
  bool tls = false;
  std::string host;  // without the brackets of an IPv6 address
  int port = 0;
  std::string path;  // "" or "/v1", without a slash at its end
};
// "http://host[:port][/path]" or https; nullopt for anything else (user names, queries and fragments too).
std::optional<HttpUrl> parse_http_url(const std::string& url);

}  // namespace r1
