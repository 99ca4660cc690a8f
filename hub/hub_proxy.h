// Through which proxy the hub is reached: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY as curl and Python's requests read them
// (small letters win over capitals).
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace r1 {

struct HubProxy {
  std::string host;  // without the brackets of an IPv6 address
  int port = 0;
  std::string user, password;  // Basic; "" = none. Never logged
  std::string authorization() const;  // "Basic ..." or ""
};

struct HubProxies {
  std::optional<HubProxy> http, https;  // by the scheme of what is asked for, not of the proxy
  std::string none;                     // NO_PROXY: "*", or names, ".domains", addresses and IPv4 networks (10.0.0.0/8), each with an optional ":port"
  // nullopt = straight. Thread-safe.
  std::optional<HubProxy> for_host(bool tls, const std::string& host, int port) const;
};

// `value` gives a variable, "" where it is not set. Throws ConfigError that names the variable, without its password: no URL, a proxy that
// is no HTTP proxy (socks5://), or one that is itself reached by TLS (https://).
HubProxies hub_proxies(const std::function<std::string(const char*)>& value);

}  // namespace r1
