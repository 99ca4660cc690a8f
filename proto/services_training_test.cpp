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
  o.config = ModelConfig::from_json(read_file(std::filesystem::path(R1_SOURCE_DIR) / run.config), "config.json");
  o.config.num_mtp_layers = run.prediction_layers;
  o.dtype = run.dtype;
  o.engine = run.engine;
  return o;
}

// Through the servers at `addresses`, or the local engine without any.
std::string trained(TransformerRunOptions o, const std::vector<std::string>& addresses = {}, GrpcEngineCounts* counts = nullptr) {
  const RolloutEngine* remote = nullptr;
  if (!addresses.empty()) o.around_engine = [&](RolloutEngine&) {
      auto engine = make_grpc_engine(engine_options(addresses), nullptr);
      remote = engine.get();
      return engine;
    };
  TransformerRun run(o, {});
  run.trainer->run();
  CHECK(run.trainer->step() == o.trainer.steps);
  if (counts) *counts = grpc_engine_counts(*remote);
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
    const std::string local = trained(o);
    for (const int n : {1, 3}) {
      Servers servers(o, n);
      GrpcEngineCounts counts;
      CHECK(trained(o, servers.addresses, &counts) == local);
      CHECK(counts.whole_updates >= 1);  // where the machine is busy, one server may have all samples before another has its weights
      CHECK(counts.whole_updates <= n);
      CHECK(counts.delta_updates > 0);
    }
  }
}

TEST_CASE("the same while servers are taken away and brought back at random") {
  TransformerRunOptions o = tiny_options();
  o.trainer.steps = 40;
  const std::string local = trained(o);
  Servers servers(o, 3);
  GrpcEngineCounts counts;
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
    remote = trained(o, servers.addresses, &counts);
  } catch (const std::exception& e) {
    remote = e.what();
  }
  done = true;
  killer.join();
  CHECK(remote == local);
  CHECK(kills >= 5);
  MESSAGE(kills, " kills, ", counts.retried, " requests asked for again");
}

TEST_CASE("experts travel with completions: routing replay through servers ends with the weights of the local engine, and biases of routers travel too") {
  for (const std::string family : {"tiny-qwen3-moe", "tiny-v3"}) {
    CAPTURE(family);
    TransformerRunOptions o = tiny_options();
    o.config = "tests/golden/model/" + family + "/config.json";
    o.grpo.updates_per_rollout = 1;
    o.grpo.passes_per_rollout = 3;  // from the second on, tokens may meet other experts than in the rollout
    o.grpo.optimizer.learning_rate.peak = 1e-2;
    if (family == "tiny-v3") o.grpo.router.bias_update = 0.01;
    const std::string free = trained(o);
    o.grpo.router.replay = true;
    const std::string local = trained(o);
    CHECK(local != free);
    Servers servers(o, 2);
    CHECK(trained(o, servers.addresses) == local);
  }
}

TEST_CASE("side by side with the learner: staleness 1 through three servers ends with the weights of the local engine; free running goes on to the end") {
  TransformerRunOptions o = tiny_options();
  o.trainer.async.max_staleness = 1;
  o.grpo.stale_samples = true;
  const std::string local = trained(o);
  Servers servers(o, 3);
  CHECK(trained(o, servers.addresses) == local);
  o.trainer.async.free_running = true;  // weights reach the servers in the middle of answers
  o.trainer.sampling.max_new_tokens = 40;
  CHECK_FALSE(trained(o, servers.addresses).empty());
}

}  // namespace
}  // namespace r1
