#include "comm/transports.h"

namespace r1 {

std::unique_ptr<Communicator> make_gloo_communicator(const Launch&, RendezvousClient&, const Communicator::Options&, const std::string&) {
  throw ConfigError(gloo_unavailable());
}
std::string gloo_unavailable() { return "this build trains in one process only: it was made without Gloo; install libgloo-dev and build again"; }

}  // namespace r1
