// weights.proto in front of an engine. For .cpp files of r1_rollout_rpc only.
#pragma once

#include <atomic>
#include <map>
#include <mutex>
#include <string>

#include <grpcpp/grpcpp.h>

#include "proto/rollout_server.h"
#include "proto/rollout_wire.h"
#include "rollout/engine.h"
#include "weights.grpc.pb.h"

namespace r1 {

class WeightService final : public wire_weights::WeightService::Service {
 public:
  WeightService(RolloutEngine& engine, const ServedRollout& served, std::string token);
  grpc::Status Update(grpc::ServerContext* context, grpc::ServerReader<wire_weights::UpdatePart>* reader, wire_weights::UpdateReply* reply) override;

  WeightKey in_use() const;  // zeros for the digest of the start weights
  // A completion says which digest the engine computed of its own memory; where that is the check of weights that came, or cannot be compared
  // with it, the digest under which they came takes its place.
  void name_weights(Completion& completion) const;
  const WeightDevice* device() const { return device_receiver_.device().get(); }
  std::atomic<long> updates{0}, failed{0};

 private:
  struct Came {
    WeightDigest name{}, check{};
    bool comparable = false;  // check, with the engine's own digest
  };
  WeightKey receive(grpc::ServerContext& context, grpc::ServerReader<wire_weights::UpdatePart>& reader);
  void install(const WeightUpdateHeader& header, const WeightSnapshot& snapshot, bool comparable);

  RolloutEngine& engine_;
  WeightReceiver receiver_;
  DeviceReceiver device_receiver_;
  const bool digest_of_engine_;
  const std::string token_;
  std::mutex updating_;
  mutable std::mutex mutex_;  // what follows
  WeightKey in_use_;
  std::map<WeightVersion, Came> came_;  // the last ones
};

}  // namespace r1
