// The bearer token of a call, on both ends. Names gRPC types: for .cpp files of proto/ only.
#pragma once

#include <string>

#include <grpcpp/grpcpp.h>

#include "proto/bearer.h"

namespace r1 {

inline constexpr const char* kAuthorization = "authorization";

// OK, or UNAUTHENTICATED. An empty token asks for none.
inline grpc::Status check_token(const grpc::ServerContextBase& context, const std::string& token) {
  if (token.empty()) return grpc::Status::OK;
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find(kAuthorization);
  if (found == metadata.end()) return {grpc::StatusCode::UNAUTHENTICATED, "no token was sent; send it as metadata authorization: Bearer TOKEN"};
  if (!bearer_is({found->second.data(), found->second.size()}, token)) return {grpc::StatusCode::UNAUTHENTICATED, "the token is wrong"};
  return grpc::Status::OK;
}

inline void send_token(grpc::ClientContext& context, const std::string& token) {
  if (!token.empty()) context.AddMetadata(kAuthorization, "Bearer " + token);
}

}  // namespace r1
