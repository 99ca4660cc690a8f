// What is the same with and without an HTTP library: URLs and the options of a recipe entry.
#include <charconv>
#include <cstdlib>

#include "core/error.h"
#include "proto/http_chat.h"
#include "proto/http_url.h"
#include "proto/loopback.h"

namespace r1 {

std::optional<HttpUrl> parse_http_url(const std::string& url) {
  HttpUrl out;
  std::string rest;
  if (url.starts_with("https://")) {
    out.tls = true;
    rest = url.substr(8);
  } else if (url.starts_with("http://")) {
    rest = url.substr(7);
  } else {
    return std::nullopt;
  }
  if (rest.find_first_of("@?# \t\r\n") != std::string::npos) return std::nullopt;
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  std::string authority = rest.substr(0, slash);
  out.path = rest.substr(slash);
  while (out.path.ends_with('/')) out.path.pop_back();
  out.port = out.tls ? 443 : 80;
  std::size_t colon = authority.rfind(':');
  if (authority.starts_with('[')) {
    const std::size_t end = authority.find(']');
    if (end == std::string::npos) return std::nullopt;
    out.host = authority.substr(1, end - 1);
    colon = end + 1 < authority.size() ? end + 1 : std::string::npos;
    if (colon != std::string::npos && authority[colon] != ':') return std::nullopt;
  } else {
    out.host = authority.substr(0, colon);
  }
  if (out.host.empty()) return std::nullopt;
  if (colon != std::string::npos) {
    const char* begin = authority.data() + colon + 1;
    const char* end = authority.data() + authority.size();
    const auto [at, error] = std::from_chars(begin, end, out.port);
    if (error != std::errc() || at != end || out.port < 1 || out.port > 65535) return std::nullopt;
  }
  return out;
}

std::string api_key_from(const std::string& variable, const std::string& url) {
  if (variable.empty()) return {};
  const char* key = std::getenv(variable.c_str());
  if (!key || !*key) throw ConfigError(message("the environment variable ", variable, " is not set"));
  const auto parts = parse_http_url(url);
  if (parts && !parts->tls && !is_loopback(parts->host))
    throw ConfigError(message("a key would go to ", parts->host, " in clear text; use https, or leave the key out"));
  return key;
}

ChatClient make_http_chat(ConfigReader& o) {
  HttpChatOptions h;
  h.url = o.require<std::string>("url");
  h.model = o.require<std::string>("model");
  const auto url = parse_http_url(h.url);
  if (!url) o.fail("url", message("= ", h.url, "; write http://HOST:PORT/v1 or https://HOST/v1"));
  try {
    h.api_key = api_key_from(o.get<std::string>("api_key_env", ""), h.url);
  } catch (const ConfigError& e) {
    o.fail("api_key_env", e.what());
  }
  h.timeout_s = o.get_in<double>("timeout", 60, 0.001, 86'400);
  h.retries = o.get_in<int>("retries", 4, 0, 100);
  h.retry_wait_s = o.get_in<double>("retry_wait", 0.5, 0, 3600);
  if (url->tls) h.ca_file = o.get<std::string>("ca_file", "");
  else o.reject("ca_file", "has an effect with https only");
  h.extra_json = o.get_json("extra");
  try {
    return make_http_chat(std::move(h));
  } catch (const ConfigError& e) {
    o.fail("url", e.what());
  }
}

}  // namespace r1
