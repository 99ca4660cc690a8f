// Weights between real GPUs: a learner and a rollout server, each a process of its own; on one GPU by CUDA IPC, on two by NCCL. What the server
// draws has the bits of an engine over the learner's own weights, and the digest that the server's engine computed of its own memory.
#include <doctest/doctest.h>

#include "apps/weight_layout.h"
#include "comm/gpu_ranks_test_support.h"
#include "model/gpu/gpu_transformer.h"
#include "proto/grpc_engine.h"
#include "proto/rollout_server.h"
#include "rl/gpu_test_support.h"
#include "rollout/gpu_step_device.h"
#include "rollout/pipelined_engine.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

struct Node {
  GpuTransformer model{test::small_config()};
  gpu::DeviceMemory memory{std::size_t{256} << 20};
  GpuRegion region{memory};
  GpuStepDevice device{model, region, {.max_decode_rows = 64, .max_prefill_rows = 512}};
  PipelinedEngine engine{device, nullptr, LocalEngineOptions{.max_rows = 64, .prefill_tokens_per_step = 512}};
};

std::vector<RolloutRequest> some_requests() {
  std::vector<RolloutRequest> out(3);
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i].prompt.id = "p" + std::to_string(i);
    for (std::size_t t = 0; t < 20 + 7 * i; ++t) out[i].prompt.tokens.push_back(static_cast<TokenId>((31 * t + i) % 500));
    out[i].samples = 2;
    out[i].sampling.max_new_tokens = 24;
    out[i].key = {1, 2, i, 0};
  }
  return out;
}

std::string serve(Session& s) {
  Node node;
  EngineLoop loop(node.engine, 16);
  ServedRollout served;
  served.model.context = 512;
  served.device = "gpu";
  served.layout = weight_layout(test::small_config(), DType::kBF16);
  served.digest_of_engine = false;
  served.weight_device = make_weight_device();
  served.places = weight_places(test::small_config(), DType::kBF16);
  RolloutServer server({}, loop, node.engine, served);
  s.comm().gather_bytes("127.0.0.1:" + std::to_string(server.port()), "address");
  s.comm().barrier("end");
  const RolloutServer::Counts n = server.counts();
  return message("updates ", n.updates, " failed ", n.failed_updates);
}

std::string learn(Session& s, std::optional<WeightWay> way) {
  GrpcEngineOptions o;
  o.servers = {s.comm().gather_bytes("", "address")[1]};
  o.weights = way;
  o.weight_device = make_weight_device();
  o.layout = weight_layout(test::small_config(), DType::kBF16);
  o.places = weight_places(test::small_config(), DType::kBF16);
  std::string out;
  {
    Node own;
    const auto engine = make_grpc_engine(o, nullptr);
    for (WeightVersion version = 1; version <= 4; ++version) {
      own.model.weights().init_random(version, 0.05f);
      engine->load_weights(own.model.weights().snapshot(version));
      own.engine.load_weights(own.model.weights().snapshot(version));
      const auto got = generate(*engine, some_requests()), want = generate(own.engine, some_requests());
      for (std::size_t i = 0; i < want.size(); ++i)
        for (std::size_t k = 0; k < want[i].completions.size(); ++k) {
          const Completion &g = got[i].completions[k], &w = want[i].completions[k];
          R1_CHECK(g.tokens == w.tokens && g.logprobs == w.logprobs, "version ", version, ", prompt ", i, ", sample ", k, ": other tokens or log-probabilities");
          R1_CHECK(g.version_runs.size() == 1 && g.version_runs[0].version == version, "runs of weights");
          R1_CHECK(g.version_runs[0].digest == own.model.weights().digest(), "another digest than the learner's");
        }
    }
    const GrpcEngineCounts n = grpc_engine_counts(*engine);
    out = message("ipc ", n.ipc_updates, " nccl ", n.nccl_updates, " others ", n.whole_updates + n.delta_updates + n.shared_updates);
  }
  s.comm().barrier("end");
  return out;
}

void check_way(bool same_gpu, std::optional<WeightWay> way, const std::string& expected) {
  const auto results = test::run_ranks(2, [&](Session& s) -> std::string {
    setenv("CUDA_VISIBLE_DEVICES", same_gpu || s.rank() == 0 ? "0" : "1", 1);
    return s.rank() == 0 ? learn(s, way) : serve(s);
  });
  CHECK_MESSAGE(results[0].output == expected, results[0].output);
  CHECK_MESSAGE(results[1].output == "updates 4 failed 0", results[1].output);
}

}  // namespace

TEST_CASE("two processes on one GPU: the server opens the learner's memory, chosen by itself and by name") {
  if (test::count_gpus() < 1) return test::skip("no GPU");
  check_way(true, std::nullopt, "ipc 4 nccl 0 others 0");
  check_way(true, WeightWay::kCudaIpc, "ipc 4 nccl 0 others 0");
}

TEST_CASE("two GPUs: through NCCL, chosen by itself and by name") {
  if (test::count_gpus() < 2) return test::skip("fewer than two GPUs");
  check_way(false, std::nullopt, "ipc 0 nccl 4 others 0");
  check_way(false, WeightWay::kNccl, "ipc 0 nccl 4 others 0");
}

TEST_CASE("a GPU's way that cannot be: NCCL on one GPU is refused by name") {
  if (test::count_gpus() < 1) return test::skip("no GPU");
  const auto results = test::run_ranks(2, [&](Session& s) -> std::string {
    setenv("CUDA_VISIBLE_DEVICES", "0", 1);
    if (s.rank() == 1) return serve(s);
    std::string error;
    try {
      learn(s, WeightWay::kNccl);
    } catch (const ConfigError& e) {
      error = e.what();
    }
    s.comm().barrier("end");
    return error;
  });
  CHECK_MESSAGE(results[0].output.find("use cuda_ipc") != std::string::npos, results[0].output);
}

}  // namespace r1
