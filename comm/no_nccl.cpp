#include "comm/transports.h"

namespace r1 {

std::unique_ptr<Communicator> make_nccl_communicator(const Launch&, RendezvousClient&, const Communicator::Options&) { throw ConfigError(nccl_unavailable()); }
std::string new_nccl_group() { throw ConfigError(nccl_unavailable()); }
std::unique_ptr<Communicator> join_nccl_group(const std::string&, int, int, const Communicator::Options&) { throw ConfigError(nccl_unavailable()); }
std::string nccl_unavailable() { return "this build has no NCCL: configure with -DR1_CUDA=ON and the nvidia-nccl wheel (scripts/deps.sh), or use model.device: cpu"; }

}  // namespace r1
