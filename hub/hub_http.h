// What downloads and uploads share of HTTP. For the .cpp files of hub/ only: it names the HTTP library's types.
#pragma once

#include <memory>
#include <string>

#include <httplib.h>

#include "hub/hub_client.h"
#include "proto/http_url.h"

namespace r1 {

struct HubTarget {
  HttpUrl url;
  std::string origin, rest;  // "https://host:port" of a URL, and what follows it
};
HubTarget hub_target(const std::string& url);  // throws IoError
std::string escape_hub_path(const std::string& path);  // slashes stay

// Cuts slashes off the endpoint. Throws ConfigError: no URL, a token that would go out in clear text, a build without TLS.
void check_hub_endpoint(HubOptions& options);
// Follows no redirect and changes no address: signed ones must stay as they are.
std::unique_ptr<httplib::Client> hub_connection(const HubTarget& target, const HubOptions& options);
// To the endpoint's own origin alone.
void add_hub_token(httplib::Headers& headers, const HubTarget& target, const HubOptions& options);

inline bool hub_status_passes(int status) { return status == 0 || status == 408 || status == 429 || status >= 500; }  // 0 = no reply

}  // namespace r1
