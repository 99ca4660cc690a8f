#include "proto/grpc_tls.h"

#include <algorithm>
#include <string_view>

#include "core/error.h"
#include "core/files.h"
#include "proto/loopback.h"

namespace r1 {
namespace {

std::string read_pem(ConfigReader& section, const char* key) {
  const auto path = section.get<std::string>(key, "");
  if (path.empty()) return {};
  try {
    return read_file(path);
  } catch (const IoError& e) {
    section.fail(key, e.what());
  }
}

}  // namespace

bool is_loopback_address(const std::string& address) {
  if (address.starts_with("unix:")) return true;
  const std::size_t colon = address.rfind(':');
  const bool port = colon != std::string::npos && colon > 0 && colon + 1 < address.size() &&
                    address.find_first_not_of("0123456789", colon + 1) == std::string::npos;
  if (!port) throw ConfigError(message("'", address, "' is no address; write HOST:PORT"));
  return is_loopback(address.substr(0, colon));
}

std::vector<std::string> parse_grpc_servers(const std::string& engine) {
  constexpr std::string_view kScheme = "grpc://";
  std::vector<std::string> out;
  if (!engine.starts_with(kScheme)) throw ConfigError(message("'", engine, "' is not known; write local, or grpc://HOST:PORT,HOST:PORT,..."));
  for (std::size_t at = kScheme.size(); at <= engine.size();) {
    const std::size_t comma = std::min(engine.find(',', at), engine.size());
    std::string address = engine.substr(at, comma - at);
    if (address.starts_with(kScheme)) address = address.substr(kScheme.size());
    is_loopback_address(address);
    if (std::find(out.begin(), out.end(), address) != out.end()) throw ConfigError(message("'", address, "' is there twice"));
    out.push_back(std::move(address));
    at = comma + 1;
  }
  return out;
}

GrpcTls read_grpc_tls(ConfigReader& options, const std::string& address, bool loopback, const char* key) {
  GrpcTls out;
  out.used = options.has("tls");
  if (!out.used) {
    if (!loopback)
      options.fail(key, message("'", address, "' is not this machine, and without TLS prompts and completions would go there in clear text; add tls: {ca: system} or tls: {ca: FILE.pem}"));
    return out;
  }
  ConfigReader tls = options.section("tls");
  const auto ca = tls.require<std::string>("ca");
  if (ca != "system") out.ca = read_pem(tls, "ca");
  out.cert = read_pem(tls, "cert");
  out.key = read_pem(tls, "key");
  if (out.cert.empty() != out.key.empty()) tls.fail(out.cert.empty() ? "cert" : "key", "is needed: cert and key go together");
  out.server_name = tls.get<std::string>("server_name", "");
  return out;
}

void check_grpc_listen(const GrpcListen& o, const char* option) {
  bool loopback = false;
  try {
    loopback = is_loopback_address(o.address);
  } catch (const ConfigError&) {
    throw ConfigError(message(option, " ", o.address, ": write HOST:PORT"));
  }
  if (o.cert.empty() != o.key.empty()) throw ConfigError("--tls-cert and --tls-key go together");
  if (!o.cert.empty()) return;
  if (!o.client_ca.empty()) throw ConfigError("--tls-client-ca has an effect with --tls-cert only");
  if (!loopback)
    throw ConfigError(message(option, " ", o.address, " can be reached from other machines; give --tls-cert and --tls-key, or listen on 127.0.0.1"));
}

}  // namespace r1
