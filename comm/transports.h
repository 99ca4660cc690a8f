// The transports behind Communicator. Each is there or not by the build; a missing one says how to get it.
#pragma once

#include <memory>
#include <string>

#include "comm/communicator.h"
#include "comm/rendezvous.h"

namespace r1 {

// Host memory over TCP. The ranks find each other through the rendezvous; `address` is this rank's own, empty = that of the rendezvous
// connection (GLOO_SOCKET_IFNAME names an interface instead). `name` tells several of a run apart. Throws CommError, and ConfigError in a
// build without Gloo.
std::unique_ptr<Communicator> make_gloo_communicator(const Launch& launch, RendezvousClient& rendezvous, const Communicator::Options& options,
                                                     const std::string& name = "gloo");
// Why it is not there; empty where it is.
std::string gloo_unavailable();

// Device memory of the GPU that is current in this thread, on a stream of its own: callers synchronise what they launched before a call;
// a call returns once its data has arrived. Throws CommError, and ConfigError in a build without NCCL.
std::unique_ptr<Communicator> make_nccl_communicator(const Launch& launch, RendezvousClient& rendezvous, const Communicator::Options& options);
std::string nccl_unavailable();

// A group of GPUs outside of a run's ranks. One of them makes its name (ncclUniqueId, with the address where the group meets), which the
// others are told by other means; it serves one group, once. Joining waits for all of them. Throws as above.
std::string new_nccl_group();
std::unique_ptr<Communicator> join_nccl_group(const std::string& group, int rank, int world, const Communicator::Options& options);

}  // namespace r1
