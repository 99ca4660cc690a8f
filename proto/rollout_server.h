// The gRPC service of one engine: rollout.proto and weights.proto, with the standard health and reflection services. It shares the engine's
// loop with the HTTP server. No gRPC type in this header.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "core/weights.h"
#include "proto/engine_loop.h"
#include "proto/grpc_tls.h"
#include "proto/openai_request.h"
#include "proto/weight_arena.h"

namespace r1 {

struct RolloutServerOptions {
  GrpcListen listen{"127.0.0.1:0", "", "", ""};
  std::string token;         // calls of both services must send it as a bearer token; "" = none, on loopback only
  int max_message_mb = 16;   // of one message; chunks of weights have 4 MiB and a little
};

struct ServedRollout {
  ServedModel model;                 // its chat template is not used
  std::string device;                // what computes
  int slots = 128;                   // samples that decode at once
  std::vector<TensorView> layout;    // of the weights, without data; empty: updates are refused
  // The engine's own digest is that of WeightStore. false: it is computed in another way (on a GPU), and completions carry the digest of what
  // the engine was given, unless the weights came from a GPU's memory, summed up in the same way.
  bool digest_of_engine = true;
  std::shared_ptr<WeightDevice> weight_device;  // of the engine's GPU; null: `no_weight_device` says why it takes weights by way of the host alone
  std::string no_weight_device = "this server computes on the CPU";
  WeightPlaces places;               // of the layout in the engine's memory, with weight_device
};

class RolloutServer {
 public:
  // `loop` and its `engine` outlive the server. Throws ConfigError: an address that cannot be listened on, an open one without token or
  // TLS.
  RolloutServer(RolloutServerOptions options, EngineLoop& loop, RolloutEngine& engine, ServedRollout served);
  ~RolloutServer();
  RolloutServer(const RolloutServer&) = delete;
  RolloutServer& operator=(const RolloutServer&) = delete;

  int port() const;
  // Health turns to NOT_SERVING and the loop takes no new calls (UNAVAILABLE: clients go elsewhere); those that run may finish until
  // `limit`, then they are cut. Returns how many were.
  int drain(std::chrono::milliseconds limit);
  struct Counts { long calls = 0, refused = 0, updates = 0, failed_updates = 0; };
  Counts counts() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace r1
