// Rewards behind gRPC, as a recipe names them. No gRPC type in this header.
#pragma once

#include <memory>

#include "core/config.h"
#include "rewards/factory.h"
#include "rewards/reward.h"

namespace r1 {

// True if this program was built with gRPC; otherwise the makers below throw ConfigError.
bool grpc_available();

// `grpc: host:port/name` or `grpc://host:port/name` (also as the entry's name). Keys beside it: timeout (60 s a group,
// retries included), start_timeout (60 s), on_error (stop or abstain), retries (8, after UNAVAILABLE, with the same
// request id), retry_wait (0.1 s before the first, doubled each time up to 5 s), concurrency (16 calls at once),
// max_message_mb (64), and for another machine tls: {ca: FILE or system, cert, key, server_name}: without TLS only
// loopback addresses are reached. Throws ConfigError if the service is not there, speaks another protocol, or has no
// such reward.
std::unique_ptr<RewardFunction> make_grpc_reward(ConfigReader& options);

// Adds the key `grpc` to what a recipe may name.
void add_grpc_rewards(RewardContext& context);

}  // namespace r1
