// One recipe and seed through the engine in this process, one server and three, and while servers die: equal weights afterwards, bit for bit.
#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "core/digest.h"
#include "proto/rollout_test_support.h"
#include "rl/transformer_run.h"

namespace r1 {
namespace {

using namespace test;

RolloutNodeOptions node_options(const TransformerRunOptions& run) {
  RolloutNodeOptions o;
  o.config = ModelConfig::from_json(read_file(std::filesystem::path(R1_SOURCE_DIR) / "tests/golden/trl_tiny/config.json"), "config.json");
  o.dtype = run.dtype;
  o.engine = run.engine;
  return o;
}

std::string trained(TransformerRunOptions o, RolloutEngine* engine) {
  o.engine_instead = engine;
  TransformerRun run(o, {});
  run.trainer->run();
  CHECK(run.trainer->step() == o.trainer.steps);
  return to_hex(run.learner->digest());
}

struct Servers {
  Servers(const TransformerRunOptions& run, int n) {
    for (int i = 0; i < n; ++i) {
      RolloutNodeOptions o = node_options(run);
      o.seed = 90 + static_cast<std::uint64_t>(i);  // none has the weights of the run
      nodes.push_back(std::make_unique<RolloutNode>(o));
      addresses.push_back(nodes.back()->address());
    }
  }
  std::vector<std::unique_ptr<RolloutNode>> nodes;
  std::vector<std::string> addresses;
};

TEST_CASE("training through one server and through three ends with the weights of the local engine") {
  for (const DType dtype : {DType::kBF16, DType::kF32}) {
    TransformerRunOptions o = tiny_options();
    o.dtype = dtype;
    const std::string local = trained(o, nullptr);
    for (const int n : {1, 3}) {
      Servers servers(o, n);
      const auto engine = make_grpc_engine(engine_options(servers.addresses), nullptr);
      CHECK(trained(o, engine.get()) == local);
      for (const auto& node : servers.nodes) CHECK(node->server().counts().calls > 0);
      CHECK(grpc_engine_counts(*engine).whole_updates == n);
      CHECK(grpc_engine_counts(*engine).delta_updates > 0);
    }
  }
}

TEST_CASE("the same while servers are taken away and brought back at random") {
  TransformerRunOptions o = tiny_options();
  o.trainer.steps = 40;
  const std::string local = trained(o, nullptr);
  Servers servers(o, 3);
  const auto engine = make_grpc_engine(engine_options(servers.addresses), nullptr);
  std::atomic<bool> done{false};
  int kills = 0;
  std::thread killer([&] {
    StreamRng rng(5, 0);
    do {
      RolloutNode& node = *servers.nodes[rng.below(3)];
      node.stop();
      std::this_thread::sleep_for(std::chrono::milliseconds(rng.below(10)));
      node.start();
      ++kills;
      std::this_thread::sleep_for(std::chrono::milliseconds(rng.below(20)));
    } while (!done);
  });
  std::string remote = "(failed)";
  try {
    remote = trained(o, engine.get());
  } catch (const std::exception& e) {
    remote = e.what();
  }
  done = true;
  killer.join();
  CHECK(remote == local);
  CHECK(kills >= 5);
  MESSAGE(kills, " kills, ", grpc_engine_counts(*engine).retried, " requests asked for again");
}

}  // namespace
}  // namespace r1
