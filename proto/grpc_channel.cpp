#include "proto/grpc_channel.h"

#include "core/error.h"
#include "core/files.h"
#include "core/json_text.h"

namespace r1 {

std::string valid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const int n = utf8_length(text.substr(i));
    if (n == 0) {
      out += "\xEF\xBF\xBD";
      ++i;
    } else {
      out.append(text.substr(i, static_cast<std::size_t>(n)));
      i += static_cast<std::size_t>(n);
    }
  }
  return out;
}

std::shared_ptr<grpc::Channel> open_channel(const std::string& address, const GrpcTls& tls, int max_message_bytes, int keepalive_s) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(max_message_bytes);
  arguments.SetMaxSendMessageSize(max_message_bytes);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);  // ours are the only ones: they keep the request's id
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000);  // how long one attempt to connect may take: several round trips, on busy machines too
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, keepalive_s * 1000);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  if (is_loopback_address(address)) arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  std::shared_ptr<grpc::ChannelCredentials> credentials;
  if (tls.used) {
    grpc::SslCredentialsOptions ssl;
    ssl.pem_root_certs = tls.ca;
    ssl.pem_cert_chain = tls.cert;
    ssl.pem_private_key = tls.key;
    if (!tls.server_name.empty()) arguments.SetSslTargetNameOverride(tls.server_name);
    credentials = grpc::SslCredentials(ssl);
  } else {
    credentials = grpc::InsecureChannelCredentials();
  }
  return grpc::CreateCustomChannel(address, credentials, arguments);
}

std::shared_ptr<grpc::ServerCredentials> server_credentials(const GrpcListen& o, const char* option) {
  check_grpc_listen(o, option);
  if (o.cert.empty()) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions ssl(o.client_ca.empty() ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                                                            : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  ssl.pem_key_cert_pairs.push_back({read_file(o.key), read_file(o.cert)});
  if (!o.client_ca.empty()) ssl.pem_root_certs = read_file(o.client_ca);
  return grpc::SslServerCredentials(ssl);
}

void configure(grpc::ServerBuilder& builder, const GrpcListen& listen, const char* option, int max_message_mb, int ping_interval_s, int* port) {
  builder.AddListeningPort(listen.address, server_credentials(listen, option), port);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, ping_interval_s * 1000);
  builder.SetMaxReceiveMessageSize(max_message_mb << 20);
  builder.SetMaxSendMessageSize(max_message_mb << 20);
}

void fail_to_listen(const GrpcListen& listen) {
  throw ConfigError(message("cannot listen on ", listen.address, "; is the port in use, or the address of another machine?"));
}

}  // namespace r1
