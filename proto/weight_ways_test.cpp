// Weights out of a GPU's memory, over a "GPU" in host memory: which way is taken, that what arrives is what was published, what is refused and by
// which name, and what happens where a way fails. On real GPUs: gpu_weight_ways_test.cpp.
#include <doctest/doctest.h>

#include "proto/fake_weight_device.h"
#include "proto/grpc_channel.h"
#include "proto/rollout_test_support.h"
#include "proto/rollout_wire.h"
#include "rollout/engine_test_support.h"
#include "tests/support/errors.h"
#include "weights.grpc.pb.h"

namespace r1 {
namespace {

using namespace test;
using grpc::StatusCode;

RolloutNodeOptions node_on(std::shared_ptr<WeightDevice> device) {
  RolloutNodeOptions o;
  o.config = tiny_config();
  o.tokenizer = tiny_tokenizer();
  o.engine.kv_cache_bytes = 4 << 20;
  o.weight_device = std::move(device);
  return o;
}

struct Learner {
  explicit Learner(FakeGpus& gpus, const std::string& id = "A") : device(std::make_shared<FakeWeightDevice>(gpus, id)), store(tiny_config(), DType::kBF16) { init_random(store, 7, 0.3f); }
  GrpcEngineOptions options(const std::vector<std::string>& servers) const {
    GrpcEngineOptions o = engine_options(servers);
    o.weights.reset();
    o.weight_device = device;
    o.layout = layout_of(store);
    o.places = weight_places(tiny_config(), DType::kBF16);
    return o;
  }
  WeightSnapshot next(WeightVersion version) {  // other bits than before
    const Parameter& p = store.parameters()[2];
    for (std::int64_t i = 0; i < p.elements; i += 5) reinterpret_cast<std::uint16_t*>(store.at(p))[i] ^= 1;
    return store.snapshot(version);
  }
  WeightDigest digest() const {
    WeightArena arena(device, layout_of(store), weight_places(tiny_config(), DType::kBF16));
    arena.fill(store.snapshot(0));
    return arena.digest();
  }
  std::vector<Completion> expected(const RolloutRequest& r) const {
    TinyModel m(DType::kBF16, 1, 1);
    m.transformer.weights().load(store.snapshot(0));
    m.transformer.weights_changed();
    LocalEngineOptions local;
    local.kv_cache_bytes = 4 << 20;
    return run(m.transformer, local, {r}).at(0);
  }
  std::shared_ptr<FakeWeightDevice> device;
  WeightStore store;
};

// A rollout under each of several new weights: the bits of the local engine, with version and digest: the device's, or the host's where they were
// published from there.
void check_rollouts(RolloutEngine& engine, Learner& learner, WeightVersion from, WeightVersion to, bool of_device = true) {
  const RolloutRequest r = request(5, 40, 2, 8);
  for (WeightVersion version = from; version <= to; ++version) {
    engine.load_weights(learner.next(version));
    const auto got = run(engine, {r}).at(0);
    const auto want = learner.expected(r);
    for (std::size_t s = 0; s < want.size(); ++s) {
      CHECK(got[s].logprobs == want[s].logprobs);
      REQUIRE(got[s].version_runs.size() == 1);
      CHECK(got[s].version_runs[0].version == version);
      const WeightDigest& digest = got[s].version_runs[0].digest;
      CHECK((digest == learner.digest() || (!of_device && digest == learner.store.digest())));
    }
  }
}

TEST_CASE("the learner's GPU: its memory is opened; another GPU of this machine: through one group, made once; a server that starts anew joins another") {
  FakeGpus gpus;
  Learner learner(gpus);
  RolloutNode near(node_on(std::make_shared<FakeWeightDevice>(gpus, "A")));
  const auto other = std::make_shared<FakeWeightDevice>(gpus, "B");
  RolloutNode far(node_on(other));
  {
    const auto engine = make_grpc_engine(learner.options({near.address()}), tiny_tokenizer());
    check_rollouts(*engine, learner, 1, 3);
    CHECK(grpc_engine_counts(*engine).ipc_updates == 3);
    CHECK(grpc_engine_counts(*engine).update_bytes == 0);
  }
  const auto engine = make_grpc_engine(learner.options({far.address()}), tiny_tokenizer());
  check_rollouts(*engine, learner, 4, 6);
  CHECK(grpc_engine_counts(*engine).nccl_updates == 3);
  CHECK(other->groups_joined == 1);
  far.stop();
  far.start();
  check_rollouts(*engine, learner, 7, 8);
  CHECK(other->groups_joined == 2);
  CHECK(grpc_engine_counts(*engine).whole_updates + grpc_engine_counts(*engine).shared_updates + grpc_engine_counts(*engine).delta_updates == 0);
}

TEST_CASE("servers with and without a GPU, and one that joins late: each its own way, one digest") {
  FakeGpus gpus;
  Learner learner(gpus);
  RolloutNode with(node_on(std::make_shared<FakeWeightDevice>(gpus, "A"))), without(node_on(nullptr)), late(node_on(nullptr));
  const auto together = make_grpc_engine(learner.options({with.address(), without.address()}), tiny_tokenizer());
  check_rollouts(*together, learner, 1, 1, false);  // perhaps the other one answered first
  for (int i = 0; i < 2000 && grpc_engine_counts(*together).ipc_updates + grpc_engine_counts(*together).shared_updates < 2; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  check_rollouts(*together, learner, 2, 4);
  for (int i = 0; i < 2000 && grpc_engine_counts(*together).shared_updates < 2; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  CHECK(grpc_engine_counts(*together).ipc_updates >= 2);
  CHECK(grpc_engine_counts(*together).shared_updates >= 2);

  // At first there is a server with a GPU alone, so nothing lies on the host; then it goes, and one without comes.
  late.stop();
  const auto engine = make_grpc_engine(learner.options({with.address(), late.address()}), tiny_tokenizer());
  check_rollouts(*engine, learner, 5, 5);
  with.stop();
  late.start();
  const RolloutRequest r = request(6, 40, 2, 8);
  const auto got = run(*engine, {r}).at(0);
  CHECK(got[0].logprobs == learner.expected(r)[0].logprobs);
  CHECK(got[0].version_runs.at(0).digest == learner.digest());
  CHECK(grpc_engine_counts(*engine).shared_updates == 1);
}

TEST_CASE("a way that fails is left with one line, and another one is taken; where it was asked for by name it is an error") {
  FakeGpus gpus;
  Learner learner(gpus);
  const auto device = std::make_shared<FakeWeightDevice>(gpus, "A");
  RolloutNode node(node_on(device));
  device->no_open = true;
  {
    const auto engine = make_grpc_engine(learner.options({node.address()}), tiny_tokenizer());
    check_rollouts(*engine, learner, 1, 3, false);
    CHECK(grpc_engine_counts(*engine).ipc_updates == 0);
    CHECK(grpc_engine_counts(*engine).shared_updates == 3);
    CHECK(node.server().counts().failed_updates == 1);
  }
  GrpcEngineOptions o = learner.options({node.address()});
  o.weights = WeightWay::kCudaIpc;
  const auto engine = make_grpc_engine(o, tiny_tokenizer());
  engine->load_weights(learner.next(9));
  const std::string text = test::error_of<std::exception>([&] { run(*engine, {request(1, 5, 1, 4)}); });
  CHECK_MESSAGE(test::contains(text, node.address()), text);
  CHECK(test::contains(text, "does not open"));
}

TEST_CASE("ways asked for by name that are not there are refused before any weights are sent") {
  FakeGpus gpus;
  Learner learner(gpus);
  const auto device = std::make_shared<FakeWeightDevice>(gpus, "A"), other = std::make_shared<FakeWeightDevice>(gpus, "B");
  other->no_nccl = "no NCCL";
  RolloutNode cpu(node_on(nullptr)), near(node_on(device)), far(node_on(other));
  const auto refused = [&](const RolloutNode& node, WeightWay way) {
    GrpcEngineOptions o = learner.options({node.address()});
    o.weights = way;
    return test::error_of<std::exception>([&] { make_grpc_engine(o, tiny_tokenizer()); });
  };
  CHECK(test::contains(refused(cpu, WeightWay::kCudaIpc), "weights is cuda_ipc, but it computes on cpu"));
  CHECK(test::contains(refused(cpu, WeightWay::kNccl), "weights is nccl, but it computes on cpu"));
  CHECK(test::contains(refused(far, WeightWay::kCudaIpc), "another GPU than the learner; use nccl"));
  CHECK(test::contains(refused(near, WeightWay::kNccl), "use cuda_ipc"));
  CHECK(test::contains(refused(far, WeightWay::kNccl), "without NCCL"));
  for (const auto& [way, name] : {std::pair{WeightWay::kCudaIpc, "cuda_ipc"}, {WeightWay::kNccl, "nccl"}}) {
    GrpcEngineOptions o = engine_options({near.address()});
    o.weights = way;
    o.no_weight_device = "built without CUDA";
    const std::string text = test::error_of<std::exception>([&] { make_grpc_engine(o, tiny_tokenizer()); });
    CHECK_MESSAGE(test::contains(text, message("rollout.grpc.weights is ", name)), text);
    CHECK(test::contains(text, "built without CUDA"));
  }
}

struct Direct {  // updates made by hand
  Direct() : learner(gpus), device(std::make_shared<FakeWeightDevice>(gpus, "A")), node(node_on(device)), arena(learner.device, layout_of(learner.store), weight_places(tiny_config(), DType::kBF16)) {
    arena.fill(learner.store.snapshot(0));
    stub = wire_weights::WeightService::NewStub(open_channel(node.address(), {}, 64 << 20));
  }
  grpc::Status send(const std::function<void(wire_weights::Header&)>& edit) {
    wire_weights::UpdatePart part;
    to_wire(WeightKey{4, arena.digest()}, arena, WeightWay::kCudaIpc, *part.mutable_header());
    edit(*part.mutable_header());
    grpc::ClientContext context;
    wire_weights::UpdateReply reply;
    const auto writer = stub->Update(&context, &reply);
    writer->Write(part);
    writer->WritesDone();
    return writer->Finish();
  }
  FakeGpus gpus;
  Learner learner;
  std::shared_ptr<FakeWeightDevice> device;
  RolloutNode node;
  WeightArena arena;
  std::unique_ptr<wire_weights::WeightService::Stub> stub;
};

TEST_CASE("stale, partial, damaged and foreign weights on a GPU are refused naming the tensor; the old ones stay in use") {
  Direct d;
  const auto refused = [&](const std::function<void(wire_weights::Header&)>& edit, StatusCode code, const std::string& word) {
    const grpc::Status status = d.send(edit);
    CHECK(status.error_code() == code);
    CHECK_MESSAGE(test::contains(status.error_message(), word), status.error_message());
    CHECK(d.node.loop().weight_version() == 0);
  };
  const std::string third = d.learner.store.parameters()[2].name;
  refused([](auto& h) { h.mutable_device()->set_sums(5, 1); }, StatusCode::DATA_LOSS, third + ": other bits came");
  refused([](auto& h) { h.mutable_device()->set_offsets(2, 16); }, StatusCode::INVALID_ARGUMENT, third + ": it lies at byte 16");
  refused([](auto& h) { h.mutable_device()->mutable_offsets()->RemoveLast(); }, StatusCode::INVALID_ARGUMENT, "offsets");
  refused([](auto& h) { h.mutable_device()->mutable_sums()->RemoveLast(); }, StatusCode::INVALID_ARGUMENT, "sums");
  refused([](auto& h) { h.mutable_device()->set_bytes(64); }, StatusCode::INVALID_ARGUMENT, "header.device.bytes is 64");
  refused([](auto& h) { h.mutable_tensors(2)->set_shape(0, 3); }, StatusCode::INVALID_ARGUMENT, third);
  refused([](auto& h) { h.set_check(std::string(16, 'x')); }, StatusCode::INVALID_ARGUMENT, "header.check");
  refused([](auto& h) { h.mutable_device()->clear_memory(); }, StatusCode::INVALID_ARGUMENT, "memory or a group");
  refused([](auto& h) { h.mutable_device()->set_memory("nobody's"); }, StatusCode::NOT_FOUND, "does not open");
  refused([](auto& h) { h.mutable_device()->set_gpu("B..............."); }, StatusCode::NOT_FOUND, "another GPU");
  const auto group = [](auto& h) {
    h.mutable_device()->set_gpu("B...............");
    h.mutable_device()->clear_memory();
    h.mutable_device()->set_group("g");
    h.mutable_device()->set_piece(1 << 20);
  };
  refused([&](auto& h) { group(h), h.mutable_device()->set_joined(true); }, StatusCode::FAILED_PRECONDITION, "not in that group");
  refused([&](auto& h) { group(h), h.mutable_device()->set_piece(0); }, StatusCode::INVALID_ARGUMENT, "piece");
  refused([&](auto& h) { group(h), h.mutable_device()->set_gpu("A..............."); }, StatusCode::NOT_FOUND, "different GPUs");
  d.device->no_nccl = "no NCCL here";
  refused(group, StatusCode::NOT_FOUND, "no NCCL here");
  // Newer weights take their place while the server reads.
  d.device->on_open = [&](const std::byte* memory) { const_cast<std::byte*>(memory)[d.arena.places().offsets[2] + 3] ^= std::byte{1}; };
  refused([](auto&) {}, StatusCode::DATA_LOSS, third + ": other bits came");
  d.device->on_open = nullptr;
  d.arena.fill(d.learner.store.snapshot(0));
  CHECK(d.send([](auto&) {}).ok());
  CHECK(d.node.loop().weight_version() == 4);

  RolloutNode cpu(node_on(nullptr));
  d.stub = wire_weights::WeightService::NewStub(open_channel(cpu.address(), {}, 64 << 20));
  const grpc::Status status = d.send([](auto&) {});
  CHECK(status.error_code() == StatusCode::NOT_FOUND);
  CHECK_MESSAGE(test::contains(status.error_message(), "computes on the CPU"), status.error_message());
}

TEST_CASE("a group that breaks in the middle: the tensor is named, the server keeps its weights, and the next update is whole") {
  FakeGpus gpus;
  Learner learner(gpus);
  const auto device = std::make_shared<FakeWeightDevice>(gpus, "B");
  RolloutNode node(node_on(device));
  const auto engine = make_grpc_engine(learner.options({node.address()}), tiny_tokenizer());
  check_rollouts(*engine, learner, 1, 1);
  int groups = 1;
  for (auto* end : {device.get(), learner.device.get()}) {
    end->messages_until_dead = 0;
    engine->load_weights(learner.next(2));
    for (int i = 0; i < 2000 && end->messages_until_dead >= 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    end->messages_until_dead = 1 << 30;
    check_rollouts(*engine, learner, 3, 4);
    CHECK(device->groups_joined == ++groups);  // a new one
    CHECK(grpc_engine_counts(*engine).shared_updates == 0);
  }
  CHECK(node.server().counts().failed_updates >= 2);
}

}  // namespace
}  // namespace r1
