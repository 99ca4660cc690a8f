// Weights on their way to one rollout server, in each of the ways there are. For .cpp files of r1_rollout_rpc only.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

#include "proto/rollout_wire.h"
#include "weights.grpc.pb.h"

namespace r1 {

// One version of the weights, for all servers of a run.
struct PublishedWeights {
  WeightKey key;
  std::shared_ptr<const WeightArena> arena;  // on this GPU; null where no server takes them from there
  std::shared_ptr<WeightImage> image;        // on the host; null until a server needs it
};

// Not thread-safe. Keeps the group of two GPUs that it made for kNccl, until something goes wrong in it.
class WeightSender {
 public:
  // `device` may be null, where no GPU's ways are asked for. `timeout_s`: of a message between GPUs.
  WeightSender(wire_weights::WeightService::Stub& stub, WeightDevice* device, double timeout_s) : stub_(stub), device_(device), timeout_s_(timeout_s) {}
  ~WeightSender() { leave(); }

  // Sends, and waits for the server's answer. `bytes` grows by what went over the wire in chunks. A way that does not work on this side is
  // INTERNAL.
  grpc::Status send(const PublishedWeights& weights, WeightWay way, grpc::ClientContext& context, std::size_t& bytes);
  void leave();  // the group, if there is one: the server is another one

 private:
  using Writer = grpc::ClientWriter<wire_weights::UpdatePart>;
  void send_chunks(const WeightImage& image, WeightWay way, Writer& writer, std::size_t& bytes);
  grpc::Status send_to_group(const WeightArena& arena, grpc::ClientContext& context, Writer& writer, wire_weights::UpdatePart& header);

  wire_weights::WeightService::Stub& stub_;
  WeightDevice* const device_;
  const double timeout_s_;
  std::string group_;
  std::unique_ptr<Communicator> communicator_;
  std::atomic<bool> refused_{false};  // the call in progress has ended without success
};

}  // namespace r1
