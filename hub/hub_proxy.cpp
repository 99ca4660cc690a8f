#include "hub/hub_proxy.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstdlib>

#include <arpa/inet.h>
#include <openssl/evp.h>

#include "core/error.h"
#include "proto/http_url.h"

namespace r1 {
namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::string unescaped(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool code = text[i] == '%' && i + 2 < text.size() && std::isxdigit(static_cast<unsigned char>(text[i + 1])) && std::isxdigit(static_cast<unsigned char>(text[i + 2]));
    out += code ? static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16)) : text[i];
    if (code) i += 2;
  }
  return out;
}

std::optional<HubProxy> read_proxy(const char* name, std::string text) {
  if (text.empty()) return std::nullopt;
  const std::size_t scheme = text.find("://");
  const std::string kind = scheme == std::string::npos ? "http" : lower(text.substr(0, scheme));
  if (scheme != std::string::npos) text.erase(0, scheme + 3);
  while (text.ends_with('/')) text.pop_back();
  HubProxy out;
  if (const std::size_t at = text.rfind('@'); at != std::string::npos) {
    const std::string user = text.substr(0, at);
    const std::size_t colon = user.find(':');
    out.user = unescaped(user.substr(0, colon));
    if (colon != std::string::npos) out.password = unescaped(user.substr(colon + 1));
    text.erase(0, at + 1);
  }
  if (kind != "http") throw ConfigError(message(name, ": a proxy of the kind ", kind, "://", text, " is not spoken here; write http://HOST:PORT, or unset ", name));
  const auto url = parse_http_url("http://" + text);
  if (!url || !url->path.empty()) throw ConfigError(message(name, ": '", text, "' is no proxy; write http://HOST:PORT"));
  out.host = url->host, out.port = url->port;
  return out;
}

// "10.0.0.0/8" holds "10.1.2.3".
bool network_holds(const std::string& network, const std::string& host) {
  const std::size_t slash = network.find('/');
  in_addr base{}, address{};
  if (slash == std::string::npos || inet_pton(AF_INET, network.substr(0, slash).c_str(), &base) != 1 || inet_pton(AF_INET, host.c_str(), &address) != 1) return false;
  const long bits = std::strtol(network.c_str() + slash + 1, nullptr, 10);
  if (bits < 0 || bits > 32) return false;
  const std::uint32_t mask = bits == 0 ? 0 : ~std::uint32_t{0} << (32 - bits);
  return ((ntohl(base.s_addr) ^ ntohl(address.s_addr)) & mask) == 0;
}

bool entry_names(std::string entry, const std::string& host, int port) {
  if (entry == "*") return true;
  // A port, unless it is an IPv6 address without brackets.
  if (const std::size_t colon = entry.rfind(':'); colon != std::string::npos && (entry.find(':') == colon || entry[colon - 1] == ']')) {
    if (entry.substr(colon + 1) != std::to_string(port)) return false;
    entry.erase(colon);
  }
  if (entry.size() > 2 && entry.front() == '[' && entry.back() == ']') entry = entry.substr(1, entry.size() - 2);
  if (entry.starts_with("*.")) entry.erase(0, 1);
  const std::string name = entry.starts_with('.') ? entry.substr(1) : entry;
  return !name.empty() && (host == name || host.ends_with("." + name) || network_holds(name, host));
}

}  // namespace

std::string HubProxy::authorization() const {
  if (user.empty() && password.empty()) return "";
  const std::string plain = user + ":" + password;
  std::string out(4 * ((plain.size() + 2) / 3) + 1, '\0');
  out.resize(static_cast<std::size_t>(
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), reinterpret_cast<const unsigned char*>(plain.data()), static_cast<int>(plain.size()))));
  return "Basic " + out;
}

std::optional<HubProxy> HubProxies::for_host(bool tls, const std::string& host, int port) const {
  const auto& proxy = tls ? https : http;
  if (!proxy) return std::nullopt;
  const std::string wanted = lower(host);
  std::string entry;
  for (const char c : lower(none) + ",") {
    if (c != ',' && c != ' ') {
      entry += c;
      continue;
    }
    if (!entry.empty() && entry_names(entry, wanted, port)) return std::nullopt;
    entry.clear();
  }
  return proxy;
}

HubProxies hub_proxies(const std::function<std::string(const char*)>& value) {
  const auto first = [&](std::initializer_list<const char*> names) -> std::optional<HubProxy> {
    for (const char* name : names)
      if (auto proxy = read_proxy(name, value(name))) return proxy;
    return std::nullopt;
  };
  HubProxies out;
  out.https = first({"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"});
  out.http = first({"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"});
  out.none = value("no_proxy");
  if (out.none.empty()) out.none = value("NO_PROXY");
  return out;
}

}  // namespace r1
