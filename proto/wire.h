// Between our structs and the messages of rewards.proto. Included by .cpp files of r1_rpc only: it names protobuf types.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <grpcpp/grpcpp.h>

#include "core/types.h"
#include "proto/grpc_channel.h"
#include "rewards/reward.h"
#include "rewards/users/user_reply.h"
#include "rewards.grpc.pb.h"

namespace r1 {

namespace wire = ::r1::rewards::v1;

inline constexpr unsigned kRewardProtocol = 1;

void to_wire(const Prompt& prompt, wire::Prompt& out);
void to_wire(const SampleGroup& group, wire::ScoreRequest& out);
SampleGroup from_wire(const wire::ScoreRequest& request);
Prompt from_wire(const wire::Prompt& prompt);

void to_wire(std::span<const RewardResult> results, wire::ScoreReply& out);
// Throws Error for a reply to another request, and with the text of `error`.
UserReply from_wire(const wire::ScoreReply& reply, const std::string& request_id);

// Where a service is, and how to reach it.
struct GrpcTarget {
  std::string address, reward;  // "host:port" (or unix:/path), "name"
  bool loopback = false;
};
// "host:port/name", with or without grpc:// before it. Throws ConfigError.
GrpcTarget parse_grpc_target(const std::string& text);

}  // namespace r1
