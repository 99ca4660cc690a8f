// New weights for a rollout server on loopback: all of them and the change alone, bytes and milliseconds, beside the floors of this machine: a
// copy in memory and the same bytes through a plain TCP connection. One JSON line a case.
// usage: weights_bench [SHAPE] [REPEATS]     default smollm2-135m, 5; the median is printed
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/weight_sink.h"
#include "core/error.h"
#include "core/rng.h"
#include "model/model_shapes.h"
#include "model/weight_store.h"
#include "proto/grpc_engine.h"
#include "proto/rollout_server.h"

namespace {

using namespace r1;
using namespace r1::bench;

double copy_ms(const WeightStore& store, std::size_t bytes, int repeats) {
  const auto target = std::make_unique<std::byte[]>(bytes);
  std::vector<double> ms;
  for (int i = 0; i < repeats; ++i) {
    const auto start = Clock::now();
    std::memcpy(target.get(), store.data(), bytes);
    ms.push_back(ms_since(start));
  }
  return median(ms);
}

// From send() of the first byte until the reader has the last.
double tcp_ms(const WeightStore& store, std::size_t bytes, int repeats) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), length) != 0 || listen(listener, 1) != 0) throw Error("no loopback socket");
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length);
  std::vector<double> ms;
  for (int i = 0; i < repeats; ++i) {
    const int out = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(out, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) throw Error("no connection on loopback");
    const int in = accept(listener, nullptr, nullptr);
    const auto target = std::make_unique<std::byte[]>(bytes);
    const auto start = Clock::now();
    std::thread writer([&] {
      for (std::size_t at = 0; at < bytes;) {
        const ssize_t n = write(out, store.data() + at, std::min<std::size_t>(bytes - at, 1 << 20));
        if (n <= 0) break;
        at += static_cast<std::size_t>(n);
      }
    });
    for (std::size_t at = 0; at < bytes;) {
      const ssize_t n = read(in, target.get() + at, bytes - at);
      if (n <= 0) throw Error("the connection broke");
      at += static_cast<std::size_t>(n);
    }
    ms.push_back(ms_since(start));
    writer.join();
    close(in);
    close(out);
  }
  close(listener);
  return median(ms);
}

// One of `one_in` values goes a step of bfloat16 up or down, as small learning rates move them.
void step(WeightStore& store, std::uint64_t one_in, std::uint64_t seed) {
  StreamRng rng(seed, one_in);
  auto* values = reinterpret_cast<std::uint16_t*>(store.data());
  for (std::int64_t i = static_cast<std::int64_t>(rng.below(one_in)); i < store.elements(); i += 1 + static_cast<std::int64_t>(rng.below(2 * one_in - 1)))
    values[i] = static_cast<std::uint16_t>(values[i] + (rng.next() % 2 == 0 ? 1 : -1));
}

int run(const std::string& shape, int repeats) {
  const ModelConfig config = model_shape(shape);
  WeightStore store(config, DType::kBF16);
  init_random(store, 1, 0.02f);
  std::size_t bytes = 0;
  ServedRollout served;
  for (TensorView t : store.snapshot(0).tensors) {
    bytes += t.bytes();
    t.data = nullptr;
    served.layout.push_back(std::move(t));
  }
  std::printf("{\"case\": \"floor_memcpy\", \"shape\": \"%s\", \"bytes\": %zu, \"ms\": %.2f}\n", shape.c_str(), bytes, copy_ms(store, bytes, repeats));
  std::printf("{\"case\": \"floor_tcp_loopback\", \"shape\": \"%s\", \"bytes\": %zu, \"ms\": %.2f}\n", shape.c_str(), bytes, tcp_ms(store, bytes, repeats));

  WeightSink<WeightStore> sink(config, DType::kBF16);  // as an engine on the CPU does
  EngineLoop loop(sink, 1);
  RolloutServer server({}, loop, sink, served);
  GrpcEngineOptions options;
  options.servers = {"127.0.0.1:" + std::to_string(server.port())};
  options.weights = WeightWay::kDelta;
  const std::unique_ptr<RolloutEngine> engine = make_grpc_engine(options, nullptr);
  options.weights = WeightWay::kShared;
  const std::unique_ptr<RolloutEngine> sharing = make_grpc_engine(options, nullptr);
  options.weights = WeightWay::kDelta;
  WeightVersion version = 0;
  struct Case {
    const char* name;
    std::uint64_t one_in;  // 0: a server that has no base, everything travels
    bool shared = false;   // mapped memory of this machine
  };
  for (const Case c : {Case{"full", 0}, {"delta_0.1%", 1000}, {"delta_1%", 100}, {"delta_10%", 10}, {"delta_50%", 2}, {"shared_memory", 100, true}}) {
    std::vector<double> prepare, whole;
    std::size_t sent = 0;
    for (int i = 0; i < repeats; ++i) {
      if (c.one_in > 0) step(store, c.one_in, static_cast<std::uint64_t>(i));
      const std::unique_ptr<RolloutEngine> fresh = c.one_in == 0 ? make_grpc_engine(options, nullptr) : nullptr;
      RolloutEngine& sender = fresh ? *fresh : c.shared ? *sharing : *engine;
      const std::size_t before = grpc_engine_counts(sender).update_bytes;
      const long updates = server.counts().updates;
      const auto start = Clock::now();
      sender.load_weights(store.snapshot(++version));
      prepare.push_back(ms_since(start));
      while (server.counts().updates == updates) std::this_thread::sleep_for(std::chrono::microseconds(200));
      whole.push_back(ms_since(start));
      while (!c.shared && grpc_engine_counts(sender).update_bytes == before) std::this_thread::sleep_for(std::chrono::microseconds(200));
      sent = grpc_engine_counts(sender).update_bytes - before;
      if (sink.digest() != store.digest()) throw Error("the weights that arrived are others");
      if (c.one_in == 0 && i + 1 == repeats) {  // the base of what follows
        const long now = server.counts().updates;
        engine->load_weights(store.snapshot(++version));
        while (server.counts().updates == now) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    }
    std::printf("{\"case\": \"%s\", \"shape\": \"%s\", \"bytes\": %zu, \"share_of_full\": %.4f, \"prepare_ms\": %.1f, \"ms\": %.1f, \"failed\": %ld}\n", c.name, shape.c_str(), sent,
                static_cast<double>(sent) / static_cast<double>(bytes), median(prepare), median(whole), server.counts().failed_updates);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc > 1 ? argv[1] : "smollm2-135m", argc > 2 ? std::max(1, std::atoi(argv[2])) : 5);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "weights_bench: %s\n", e.what());
    return 1;
  }
}
