// Channels and listening ports as all our gRPC clients and servers want them. Names gRPC types: for .cpp files of proto/ only.
#pragma once

#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

#include "proto/grpc_tls.h"

namespace r1 {

// Bad bytes become U+FFFD: protobuf refuses strings that are not UTF-8.
std::string valid_utf8(std::string_view text);

// keepalive_s: how often a silent connection is asked whether it lives; servers that do not expect it allow 300.
std::shared_ptr<grpc::Channel> open_channel(const std::string& address, const GrpcTls& tls, int max_message_bytes, int keepalive_s = 300);

// Throws ConfigError as check_grpc_listen(), IoError for files.
std::shared_ptr<grpc::ServerCredentials> server_credentials(const GrpcListen& listen, const char* option);
// The address, limits of messages, and that a second server on the port is an error, not half of the calls. Pings are allowed every
// ping_interval_s.
void configure(grpc::ServerBuilder& builder, const GrpcListen& listen, const char* option, int max_message_mb, int ping_interval_s, int* port);
// "cannot listen on ...", naming what may be wrong.
[[noreturn]] void fail_to_listen(const GrpcListen& listen);

}  // namespace r1
