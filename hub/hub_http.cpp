#include "hub/hub_http.h"

#include <cctype>
#include <chrono>

#include "core/error.h"
#include "proto/loopback.h"

namespace r1 {

HubTarget hub_target(const std::string& url) {
  const std::size_t slash = url.find('/', url.find("://") == std::string::npos ? 0 : url.find("://") + 3);
  HubTarget out;
  const std::string base = url.substr(0, slash);
  const auto parsed = parse_http_url(base);
  if (!parsed) throw IoError(message("the hub answers with an address that is none: ", url.substr(0, 120)));
  out.url = *parsed;
  const std::string host = parsed->host.find(':') != std::string::npos ? "[" + parsed->host + "]" : parsed->host;
  out.origin = message(parsed->tls ? "https" : "http", "://", host, ":", parsed->port);
  out.rest = slash == std::string::npos ? "/" : url.substr(slash);
  return out;
}

std::string escape_hub_path(const std::string& path) {
  std::string out;
  for (const unsigned char c : path) {
    constexpr char kHex[] = "0123456789ABCDEF";
    if (std::isalnum(c) || c == '-' || c == '_' || c == '.' || c == '~' || c == '/') out += static_cast<char>(c);
    else out += {'%', kHex[c >> 4], kHex[c & 15]};
  }
  return out;
}

void check_hub_endpoint(HubOptions& options) {
  while (options.endpoint.ends_with('/')) options.endpoint.pop_back();
  const auto url = parse_http_url(options.endpoint);
  if (!url) throw ConfigError(message("HF_ENDPOINT '", options.endpoint, "' is no URL; write https://HOST"));
  if (!url->tls && !options.token.empty() && !is_loopback(url->host))
    throw ConfigError(message("HF_ENDPOINT ", options.endpoint, " is http: HF_TOKEN would go out in clear text; use https, or unset HF_TOKEN"));
#ifndef CPPHTTPLIB_OPENSSL_SUPPORT
  if (url->tls) throw ConfigError("this program's HTTP client was built without TLS; install libssl-dev and build again");
#endif
}

std::unique_ptr<httplib::Client> hub_connection(const HubTarget& target, const HubOptions& options) {
  auto client = std::make_unique<httplib::Client>(target.origin);
  client->set_follow_location(false);
  client->set_url_encode(false);
  const auto timeout = std::chrono::microseconds(static_cast<std::int64_t>(options.timeout_s * 1e6));
  client->set_connection_timeout(timeout);
  client->set_read_timeout(timeout);
  client->set_write_timeout(timeout);
  if (const auto proxy = options.proxies.for_host(target.url.tls, target.url.host, target.url.port)) {
    client->set_proxy(proxy->host, proxy->port);
    if (!proxy->authorization().empty()) client->set_proxy_basic_auth(proxy->user, proxy->password);
  }
#ifdef CPPHTTPLIB_OPENSSL_SUPPORT
  client->enable_server_certificate_verification(true);
  if (!options.ca_file.empty()) client->set_ca_cert_path(options.ca_file.c_str());
#endif
  return client;
}

void add_hub_token(httplib::Headers& headers, const HubTarget& target, const HubOptions& options) {
  if (!options.token.empty() && target.origin == hub_target(options.endpoint).origin) headers.emplace("Authorization", "Bearer " + options.token);
}

}  // namespace r1
