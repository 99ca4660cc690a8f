// How a gRPC service is reached or offered, without a gRPC type: addresses, certificates and the rule that only this machine is
// spoken to in clear text.
#pragma once

#include <string>
#include <vector>

#include "core/config.h"

namespace r1 {

struct GrpcTls {  // a client's
  std::string ca, cert, key, server_name;  // PEM texts; without ca the system's
  bool used = false;
};

// "host:port" or "unix:/path" -> loopback or not. Throws ConfigError "write HOST:PORT".
bool is_loopback_address(const std::string& address);

// "grpc://host:port,host:port" -> addresses. Throws ConfigError.
std::vector<std::string> parse_grpc_servers(const std::string& engine);

// Section `tls` of `options`: ca (FILE or system), cert, key, server_name. Throws ConfigError where it is absent and `loopback` is false;
// `key` names the setting that holds the address.
GrpcTls read_grpc_tls(ConfigReader& options, const std::string& address, bool loopback, const char* key);

struct GrpcListen {
  std::string address;             // host:port; port 0 = any free one
  std::string cert, key, client_ca;  // PEM files; cert and key both or none. With client_ca clients must show a certificate of it
};
// Throws ConfigError: no HOST:PORT, half a pair of files, an address that other machines reach without TLS. `option` names the address's.
void check_grpc_listen(const GrpcListen& listen, const char* option);

}  // namespace r1
