// weights.proto in front of an engine. For .cpp files of r1_rollout_rpc only.
#pragma once

#include <atomic>
#include <map>
#include <mutex>
#include <string>

#include <grpcpp/grpcpp.h>

#include "proto/rollout_wire.h"
#include "rollout/engine.h"
#include "weights.grpc.pb.h"

namespace r1 {

class WeightService final : public wire_weights::WeightService::Service {
 public:
  WeightService(RolloutEngine& engine, std::vector<TensorView> layout, std::string token);
  grpc::Status Update(grpc::ServerContext* context, grpc::ServerReader<wire_weights::UpdatePart>* reader, wire_weights::UpdateReply* reply) override;

  WeightKey in_use() const;  // zeros for the digest of the start weights
  // The digest under which a version came, of the last ones; zeros if it did not.
  WeightDigest digest_of(WeightVersion version) const;
  std::atomic<long> updates{0}, failed{0};

 private:
  WeightKey receive(grpc::ServerReader<wire_weights::UpdatePart>& reader);
  void install(const WeightKey& key, const WeightSnapshot& snapshot);

  RolloutEngine& engine_;
  WeightReceiver receiver_;
  const std::string token_;
  std::mutex updating_;
  mutable std::mutex mutex_;  // what follows
  WeightKey in_use_;
  std::map<WeightVersion, WeightDigest> digests_;
};

}  // namespace r1
