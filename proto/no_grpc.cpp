// Built in place of the gRPC files where gRPC is not found, or R1_RPC is OFF.
#include "core/error.h"
#include "proto/grpc_reward.h"
#include "proto/reward_conformance.h"
#include "proto/reward_server.h"

namespace r1 {
namespace {
constexpr const char* kWithout =
    "this program was built without gRPC; install libgrpc++-dev, libprotobuf-dev and protobuf-compiler-grpc, and configure again";
}

struct RewardServer::Impl {};

bool grpc_available() { return false; }
std::unique_ptr<RewardFunction> make_grpc_reward(ConfigReader& options) { options.fail(options.has("grpc") ? "grpc" : "name", kWithout); }
void add_grpc_rewards(RewardContext& context) { context.external["grpc"] = make_grpc_reward; }
RewardServer::RewardServer(RewardServerOptions, std::vector<ServedReward>) { throw ConfigError(kWithout); }
RewardServer::~RewardServer() = default;
int RewardServer::port() const { return 0; }
int RewardServer::drain(std::chrono::milliseconds) { return 0; }
RewardServer::Counts RewardServer::counts() const { return {}; }
std::vector<ConformanceCase> check_reward_service(const ConformanceOptions&) { throw ConfigError(kWithout); }

}  // namespace r1
