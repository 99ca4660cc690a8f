// New weights for a rollout server out of the learner's GPU: server and learner are processes of their own, on one GPU (CUDA IPC) or two (NCCL; and
// by way of the host, in shared memory). From load_weights() until the server's own copy is in use. Beside it the floor: the same bytes copied
// within the GPU, or from one GPU to the other. One JSON line a case.
// usage: gpu_weights_bench [SHAPE] [REPEATS]     default qwen2.5-0.5b, 10 (by way of the host 2); the median is printed
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include <cuda_runtime_api.h>

#include "apps/weight_layout.h"
#include "bench/weight_sink.h"
#include "comm/gpu_ranks_test_support.h"
#include "model/gpu/gpu_weights.h"
#include "model/model_shapes.h"
#include "proto/grpc_engine.h"
#include "proto/rollout_server.h"

namespace {

using namespace r1;
using namespace r1::bench;

std::string serve(Session& s, const ModelConfig& config) {
  gpu::OwnedStream stream;
  WeightSink<GpuWeights> sink(config, stream);  // as an engine on the GPU does
  EngineLoop loop(sink, 1);
  ServedRollout served;
  served.layout = weight_layout(config, DType::kBF16);
  served.digest_of_engine = false;
  served.weight_device = make_weight_device();
  served.places = weight_places(config, DType::kBF16);
  RolloutServer server({}, loop, sink, served);
  s.comm().gather_bytes("127.0.0.1:" + std::to_string(server.port()), "address");
  s.comm().barrier("end");
  return to_hex(sink.digest());
}

// The last digest, then the line.
std::string learn(Session& s, const std::string& shape, const ModelConfig& config, WeightWay way, int repeats, double floor_ms) {
  GrpcEngineOptions o;
  o.servers = {s.comm().gather_bytes("", "address")[1]};
  o.weights = way;
  o.weight_device = make_weight_device();
  o.layout = weight_layout(config, DType::kBF16);
  o.places = weight_places(config, DType::kBF16);
  gpu::OwnedStream stream;
  GpuWeights weights(config, stream);
  o.to_host = [&](const WeightSnapshot& snapshot) { return weights.host_snapshot(snapshot.version); };
  std::string out;
  {
    const auto engine = make_grpc_engine(o, nullptr);
    const auto updates = [&] {
      const GrpcEngineCounts n = grpc_engine_counts(*engine);
      return n.whole_updates + n.delta_updates + n.shared_updates + n.ipc_updates + n.nccl_updates;
    };
    std::vector<double> published, whole;
    for (int i = 0; i <= repeats; ++i) {  // the first takes memory and makes the group
      weights.init_random(static_cast<std::uint64_t>(i) + 1, 0.02f);
      const long before = updates();
      const auto start = Clock::now();
      engine->load_weights(weights.snapshot(static_cast<WeightVersion>(i) + 1));
      const double here = ms_since(start);
      while (updates() == before) {
        if (ms_since(start) > 60e3) throw Error(message("no weights by ", name_of(way), " within 60 s"));
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      }
      if (i > 0) published.push_back(here), whole.push_back(ms_since(start));
      else out = message(", \"first_ms\": ", ms_since(start));
    }
    std::size_t bytes = 0;
    for (const TensorView& t : o.layout) bytes += t.bytes();
    out = message(to_hex(weights.digest()), " {\"case\": \"", name_of(way), "\", \"shape\": \"", shape, "\", \"bytes\": ", bytes, ", \"load_weights_ms\": ", median(published), ", \"ms\": ", median(whole),
                  ", \"gb_per_s\": ", static_cast<double>(bytes) / median(whole) / 1e6, ", \"floor_ms\": ", floor_ms, ", \"floor_gb_per_s\": ", static_cast<double>(bytes) / floor_ms / 1e6, out, "}");
  }
  s.comm().barrier("end");
  return out;
}

// A copy of `bytes` from GPU 0 to GPU 0 or 1.
std::string copy_floor(std::size_t bytes, bool same) {
  void *from = nullptr, *to = nullptr;
  gpu::check(cudaMalloc(&from, bytes), "cudaMalloc");
  if (!same) {
    int can = 0;
    gpu::check(cudaDeviceCanAccessPeer(&can, 1, 0), "cudaDeviceCanAccessPeer");
    if (can != 0) gpu::check(cudaDeviceEnablePeerAccess(1, 0), "cudaDeviceEnablePeerAccess");
    gpu::check(cudaSetDevice(1), "cudaSetDevice");
  }
  gpu::check(cudaMalloc(&to, bytes), "cudaMalloc");
  std::vector<double> ms;
  for (int i = 0; i < 11; ++i) {
    const auto start = Clock::now();
    gpu::check(cudaMemcpyPeer(to, same ? 0 : 1, from, 0, bytes), "cudaMemcpyPeer");
    gpu::check(cudaDeviceSynchronize(), "waiting for the GPU");
    ms.push_back(ms_since(start));
  }
  return std::to_string(median(ms));
}

int run(const std::string& shape, int repeats) {
  const ModelConfig config = model_shape(shape);
  const std::size_t bytes = weight_places(config, DType::kBF16).bytes;
  const int gpus = test::count_gpus();
  if (gpus == 0) throw Error("no GPU");
  for (const bool same : {true, false}) {
    if (!same && gpus < 2) {
      std::printf("{\"skipped\": \"nccl\", \"why\": \"fewer than two GPUs\"}\n");
      continue;
    }
    const auto floors = test::run_ranks(1, [&](Session&) { return copy_floor(bytes, same); });
    const double floor_ms = std::atof(floors[0].output.c_str());
    if (floor_ms <= 0) throw Error(floors[0].output);
    for (const WeightWay way : {same ? WeightWay::kCudaIpc : WeightWay::kNccl, WeightWay::kShared, WeightWay::kWhole}) {
      const int times = way == WeightWay::kCudaIpc || way == WeightWay::kNccl ? repeats : std::min(repeats, 2);  // by way of the host it takes seconds
      const auto results = test::run_ranks(2, [&](Session& s) {
        setenv("CUDA_VISIBLE_DEVICES", same || s.rank() == 0 ? "0" : "1", 1);
        return s.rank() == 0 ? learn(s, shape, config, way, times, floor_ms) : serve(s, config);
      });
      const std::string& line = results[0].output;
      if (results[0].status != 0 || line.substr(0, 32) != results[1].output) throw Error(message("the weights that arrived are others: ", line, "; ", results[1].output));
      std::printf("%s\n", line.substr(33).c_str());
      std::fflush(stdout);
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc > 1 ? argv[1] : "qwen2.5-0.5b", argc > 2 ? std::max(1, std::atoi(argv[2])) : 10);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "gpu_weights_bench: %s\n", e.what());
    return 1;
  }
}
