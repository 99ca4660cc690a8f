// How new weights reach a rollout server.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace r1 {

enum class WeightWay : std::uint8_t {
  kWhole,    // all, over the wire
  kDelta,    // what changed, over the wire
  kShared,   // in the learner's host memory, which a server of this machine maps
  kCudaIpc,  // in the learner's GPU memory, which a server on the same GPU opens
  kNccl,     // from the learner's GPU to the server's
};

// rollout.grpc.weights, in the order of WeightWay; before them auto: the fastest that learner and server both have. Named ones must be there, but that a first
// delta is of nothing, so all travel.
inline const std::array<std::string, 6> kWeightChoices = {"auto", "full", "delta", "shared_memory", "cuda_ipc", "nccl"};
inline const std::string& name_of(WeightWay way) { return kWeightChoices[static_cast<std::size_t>(way) + 1]; }
inline bool on_gpu(WeightWay way) { return way == WeightWay::kCudaIpc || way == WeightWay::kNccl; }

}  // namespace r1
