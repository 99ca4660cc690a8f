// The gRPC reward service: serves any RewardFunction by name. No gRPC type in this header.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "rewards/reward.h"

namespace r1 {

struct ServedReward {
  std::string name, summary;
  const RewardFunction* reward = nullptr;  // outlives the server
};

struct RewardServerOptions {
  std::string listen = "127.0.0.1:50061";  // host:port; port 0 = any free one
  int concurrency = 0;                     // groups scored at once; 0 = all cores. More of them wait
  int max_message_mb = 64;
  std::string tls_cert, tls_key;           // PEM files; both or none. Without them only loopback addresses are listened on
  std::string tls_client_ca;               // PEM file: clients must show a certificate of it
};

// Answers from construction to destruction. A repeated request (same request_id) gets the first one's reply, also while
// that one is being made. Standard gRPC health service: SERVING for "" and for r1.rewards.v1.RewardService.
class RewardServer {
 public:
  // Throws ConfigError: no reward, two of a name, an address that cannot be listened on, an open address without TLS.
  RewardServer(RewardServerOptions options, std::vector<ServedReward> rewards);
  ~RewardServer();
  RewardServer(const RewardServer&) = delete;
  RewardServer& operator=(const RewardServer&) = delete;

  int port() const;
  // Health turns to NOT_SERVING, new calls are refused as UNAVAILABLE (clients try again elsewhere or later), those that
  // run may finish until `limit`. Returns how many did not.
  int drain(std::chrono::milliseconds limit);
  // Calls answered since the start, and of those, repeated requests answered from memory.
  struct Counts { long calls = 0, failed = 0, repeated = 0; };
  Counts counts() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace r1
