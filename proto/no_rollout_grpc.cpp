// Built in place of the gRPC files where gRPC is not found, or R1_RPC is OFF.
#include "core/error.h"
#include "proto/grpc_engine.h"
#include "proto/rollout_server.h"

namespace r1 {
namespace {
constexpr const char* kWithout =
    "this program was built without gRPC; install libgrpc++-dev, libprotobuf-dev and protobuf-compiler-grpc, and configure again";
}

std::unique_ptr<RolloutEngine> make_grpc_engine(GrpcEngineOptions, const std::shared_ptr<const Tokenizer>&) { throw ConfigError(kWithout); }
GrpcEngineCounts grpc_engine_counts(const RolloutEngine&) { return {}; }

struct RolloutServer::Impl {};
RolloutServer::RolloutServer(RolloutServerOptions, EngineLoop&, RolloutEngine&, ServedRollout) { throw ConfigError(kWithout); }
RolloutServer::~RolloutServer() = default;
int RolloutServer::port() const { return 0; }
int RolloutServer::drain(std::chrono::milliseconds) { return 0; }
RolloutServer::Counts RolloutServer::counts() const { return {}; }

}  // namespace r1
