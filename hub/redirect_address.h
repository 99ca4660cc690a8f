// The address that a server redirects to, letter for letter. cpp-httplib 0.11 unescapes every header that it reads: a signed address would
// lose its "%2F" and "%3A", and cannot be put together again. So the head of that one reply is read once more, without the library.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "hub/hub_proxy.h"

namespace r1 {

struct HeadRequest {
  std::string method = "HEAD";
  bool tls = true;
  std::string host;     // without the brackets of an IPv6 address
  int port = 443;
  std::string target;   // path and query as they go over the wire
  std::vector<std::pair<std::string, std::string>> headers;
  std::string ca_file;  // roots to trust; empty = the system's
  double timeout_s = 30;
  std::optional<HubProxy> proxy = std::nullopt;
};
struct RedirectAddress {
  int status = 0;        // 0 = there was no reply: `error`
  std::string location;  // "" where the reply has none
  std::string error;
};

// Reads the reply's head and closes the connection. Never throws for what the network does. SIGPIPE must be ignored. Thread-safe.
RedirectAddress read_redirect(const HeadRequest& request);
// The part of it that needs no network: status and Location of a head ("HTTP/1.1 302 Found\r\n...", up to its empty line).
RedirectAddress parse_redirect(const std::string& head);

}  // namespace r1
