// A rollout engine on other machines: any number of servers of rollout.proto behind the interface of the engine in this process. No gRPC
// type in this header.
//
// Requests go to the server with the least to do. A sample that does not come, because its server died, was restarted, is full or too slow,
// is asked for again elsewhere: its draws are keyed, so it has the same bits, and the first whole one is kept. A server that comes
// (back) during a run gets the weights and then its share. Weights go to servers on their own threads, as the change since the last
// ones where a server has these; requests go only to servers that hold the newest.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proto/grpc_tls.h"
#include "proto/weight_arena.h"
#include "proto/weight_way.h"
#include "rollout/engine.h"
#include "text/tokenizer.h"

namespace r1 {

struct GrpcEngineOptions {          // rollout.grpc: in a recipe
  std::vector<std::string> servers;  // host:port; empty = the engine of this process
  GrpcTls tls;
  std::string token;                // sent with every call; empty = none
  double start_timeout_s = 60;      // until the first server answers
  double call_timeout_s = 1800;     // of a prompt's samples at one server; twice over is an error
  double stall_timeout_s = 300;     // with no server that takes a request
  double weights_timeout_s = 600;   // of one update at one server
  int retries = 20;                 // of a prompt's samples
  int max_message_mb = 64;
  std::optional<WeightWay> weights;  // rollout.grpc.weights: how new ones reach servers; none: the fastest that learner and server both have
  std::shared_ptr<WeightDevice> weight_device;  // of the GPU where weights lie; null: `no_weight_device` says why there is none
  std::string no_weight_device = "the learner computes on the CPU";
  std::vector<TensorView> layout;   // with weight_device: the tensors, without data, and their places in memory
  WeightPlaces places;
  bool interruptible = true;        // a stop request ends wait(); false: what was asked for is waited for
  // Servers are given weights by other ranks of this run too. Then one that holds newer ones than this rank knows of has them from a rank
  // that was faster: they are not taken from it again, for a while.
  bool shared_servers = false;
  // Of ranks whose weights change within rollouts: called in load_weights() once the weights are known here and before any server gets them
  // from here; returns when all ranks know them, so that no completion names weights that its rank has not heard of. May be empty.
  std::function<void()> before_publish;
  // Weights that lie on a device -> the same on the host; empty: they do already.
  std::function<WeightSnapshot(const WeightSnapshot&)> to_host;
};

// Completions' texts must be this tokenizer's (may be null: not checked). Waits for the first server. Throws ConfigError naming server and
// reason; Interrupted after a stop was requested. wait() throws Error that names the server and what it was waited for: stale or unknown
// weights behind a completion, another architecture, a sample that does not come in `retries` tries.
std::unique_ptr<RolloutEngine> make_grpc_engine(GrpcEngineOptions options, const std::shared_ptr<const Tokenizer>& tokenizer);

struct GrpcEngineCounts {  // since the engine was made
  long retried = 0;             // requests, or parts of one, that were asked for again
  long whole_updates = 0, delta_updates = 0, shared_updates = 0, ipc_updates = 0, nccl_updates = 0;
  std::size_t update_bytes = 0;  // of chunks, all servers together
};
GrpcEngineCounts grpc_engine_counts(const RolloutEngine& engine);  // of one that make_grpc_engine() made

}  // namespace r1
