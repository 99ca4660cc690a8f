// Updates over the wire: what is wrong has its status and a message that names the tensor; the engine keeps the old weights until the new ones
// are whole, and no cached prompt of older weights is used afterwards.
#include <doctest/doctest.h>

#include "proto/grpc_channel.h"
#include "proto/rollout_test_support.h"
#include "proto/rollout_wire.h"
#include "rollout/engine_test_support.h"
#include "weights.grpc.pb.h"

namespace r1 {
namespace {

using namespace test;
using grpc::StatusCode;

struct World {
  World() : node([] {
    RolloutNodeOptions o;
    o.config = tiny_config();
    o.tokenizer = tiny_tokenizer();
    o.engine.kv_cache_bytes = 4 << 20;
    return o;
  }()), store(tiny_config(), DType::kBF16) {
    init_random(store, 7, 0.3f);
    stub = wire_weights::WeightService::NewStub(open_channel(node.address(), {}, 64 << 20));
  }
  RolloutNode node;
  WeightStore store;
  std::unique_ptr<wire_weights::WeightService::Stub> stub;

  // All parts of an update, to be spoilt and sent.
  std::vector<wire_weights::UpdatePart> parts(const WeightImage& image, bool delta = false) const {
    std::vector<wire_weights::UpdatePart> out(1);
    to_wire(image, delta ? WeightWay::kDelta : WeightWay::kWhole, *out[0].mutable_header());
    if (delta) for (const WeightChunk& c : image.delta()->chunks) to_wire(WeightChunk(c), *out.emplace_back().mutable_chunks()->add_chunks());
    else for (std::uint32_t t = 0; t < image.tensors().size(); ++t) to_wire(image.whole_chunk(t, 0), *out.emplace_back().mutable_chunks()->add_chunks());
    const auto chunks = static_cast<std::uint32_t>(out.size() - 1);
    out.emplace_back().mutable_end()->set_chunks(chunks);
    return out;
  }
  grpc::Status send(const std::vector<wire_weights::UpdatePart>& parts, bool tear = false) const {
    grpc::ClientContext context;
    wire_weights::UpdateReply reply;
    const auto writer = stub->Update(&context, &reply);
    for (const auto& part : parts)
      if (!writer->Write(part)) break;
    if (tear) context.TryCancel();
    else writer->WritesDone();
    return writer->Finish();
  }
  WeightVersion version() { return node.loop().weight_version(); }
};

TEST_CASE("whole weights and deltas reach the engine; completions have their bits, version and digest; no older prompt cache is used") {
  World w;
  GrpcEngineOptions options = engine_options({w.node.address()});
  const auto engine = make_grpc_engine(options, tiny_tokenizer());
  const RolloutRequest r = request(5, 40, 2, 12);  // whole blocks to cache
  LocalEngineOptions local;
  local.kv_cache_bytes = 4 << 20;
  (void)run(*engine, {r});  // fills the server's cache under the start weights
  TinyModel m(DType::kBF16, 1, 1);
  for (const WeightVersion version : {1, 2, 3}) {
    const Parameter& p = w.store.parameters()[2];
    for (std::int64_t i = 0; i < p.elements; i += 5) reinterpret_cast<std::uint16_t*>(w.store.at(p))[i] ^= 1;
    engine->load_weights(w.store.snapshot(version));
    m.transformer.weights().load(w.store.snapshot(version));
    m.transformer.weights_changed();
    const auto expected = run(m.transformer, local, {r}).at(0);
    const auto got = run(*engine, {r}).at(0);
    for (std::size_t s = 0; s < 2; ++s) {
      CHECK(got[s].tokens == expected[s].tokens);
      CHECK(got[s].logprobs == expected[s].logprobs);
      REQUIRE(got[s].version_runs.size() == 1);
      CHECK(got[s].version_runs[0].version == version);
      CHECK(got[s].version_runs[0].digest == w.store.digest());
    }
  }
  CHECK(grpc_engine_counts(*engine).whole_updates == 1);
  CHECK(grpc_engine_counts(*engine).delta_updates == 2);
  CHECK(grpc_engine_counts(*engine).update_bytes < 2 * w.store.elements() * 2);
}

TEST_CASE("weights in shared memory: mapped by servers of this machine, checked, refused where they cannot be opened, and chunks then go instead") {
  World w;
  GrpcEngineOptions options = engine_options({w.node.address()});
  options.weights.reset();
  const auto engine = make_grpc_engine(options, tiny_tokenizer());
  const RolloutRequest r = request(5, 20, 1, 6);
  for (const WeightVersion version : {1, 2, 3, 4}) {  // memory is used again from the third on
    reinterpret_cast<std::uint16_t*>(w.store.at(w.store.parameters()[2]))[version] ^= 1;
    engine->load_weights(w.store.snapshot(version));
    CHECK(run(*engine, {r}).at(0).at(0).version_runs.at(0).digest == w.store.digest());
  }
  CHECK(grpc_engine_counts(*engine).shared_updates == 4);
  CHECK(grpc_engine_counts(*engine).update_bytes == 0);

  const WeightImage image(w.store.snapshot(9), nullptr, nullptr, true);
  REQUIRE(image.shared() != nullptr);
  const auto refused = [&](const std::function<void(wire_weights::Header&)>& edit, StatusCode code) {
    std::vector<wire_weights::UpdatePart> parts(1);
    to_wire(image, WeightWay::kShared, *parts[0].mutable_header());
    edit(*parts[0].mutable_header());
    const grpc::Status status = w.send(parts);
    CHECK_MESSAGE(status.error_code() == code, status.error_message());
    CHECK(w.version() == 4);
  };
  refused([](auto& h) { h.mutable_shared()->set_file(1); }, StatusCode::NOT_FOUND);  // no such memory
  refused([](auto& h) { h.mutable_shared()->set_file(99'999); }, StatusCode::NOT_FOUND);
  refused([](auto& h) { h.mutable_shared()->set_process(-1); }, StatusCode::NOT_FOUND);
  refused([](auto& h) { h.mutable_tensors(1)->set_shape(0, 7); }, StatusCode::INVALID_ARGUMENT);
  refused([](auto& h) { (*h.mutable_digest())[3] ^= 1; }, StatusCode::DATA_LOSS);
  const WeightImage small(TinyModel(DType::kF32, 1, 1).transformer.weights().snapshot(1), nullptr, nullptr, true);  // another size
  refused([&](auto& h) { h.mutable_shared()->set_file(small.shared()->name().descriptor); }, StatusCode::NOT_FOUND);
}

TEST_CASE("stale, damaged, torn and foreign updates have their status, name the tensor, and leave the weights in use") {
  World w;
  const WeightImage first(w.store.snapshot(4), nullptr);
  const auto good = w.parts(first);
  const auto refused = [&](const std::vector<wire_weights::UpdatePart>& parts, StatusCode code, const std::string& word) {
    const grpc::Status status = w.send(parts);
    CHECK(status.error_code() == code);
    CHECK_MESSAGE(status.error_message().find(word) != std::string::npos, status.error_message());
    CHECK(w.version() == 0);
  };
  const std::string third = w.store.parameters()[2].name, last = w.store.parameters().back().name;
  auto bad = good;
  (*bad[3].mutable_chunks()->mutable_chunks(0)->mutable_data())[9] ^= 1;
  refused(bad, StatusCode::DATA_LOSS, third);
  bad = good;
  bad.resize(bad.size() - 2);  // it ends early
  refused(bad, StatusCode::DATA_LOSS, last);
  bad = good;
  bad.erase(bad.begin() + 3);
  refused(bad, StatusCode::DATA_LOSS, third);
  bad = good;
  bad[0].mutable_header()->mutable_tensors(2)->set_shape(0, 3);
  refused(bad, StatusCode::INVALID_ARGUMENT, third);
  bad = good;
  bad[0].mutable_header()->mutable_tensors(2)->set_type("I8");
  refused(bad, StatusCode::INVALID_ARGUMENT, "'I8'");
  bad = good;
  bad[0].mutable_header()->set_protocol(2);
  refused(bad, StatusCode::INVALID_ARGUMENT, "header.protocol is 2");
  bad = good;
  bad[0].mutable_header()->set_digest("xyz");
  refused(bad, StatusCode::INVALID_ARGUMENT, "header.digest");
  bad = good;
  bad.erase(bad.begin());
  refused(bad, StatusCode::INVALID_ARGUMENT, "header");
  bad = good;
  bad.insert(bad.begin() + 2, good[0]);
  refused(bad, StatusCode::INVALID_ARGUMENT, "second header");
  refused({}, StatusCode::INVALID_ARGUMENT, "header");
  bad = good;
  bad.resize(4);
  CHECK(w.send(bad, true).error_code() == StatusCode::CANCELLED);  // the client vanished
  for (int i = 0; i < 1000 && w.node.server().counts().failed_updates < 11; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  CHECK(w.node.server().counts().failed_updates == 11);
  CHECK(w.version() == 0);

  CHECK(w.send(good).ok());
  CHECK(w.version() == 4);
  WeightStore changed(tiny_config(), DType::kBF16);
  init_random(changed, 7, 0.3f);
  reinterpret_cast<std::uint16_t*>(changed.at(changed.parameters()[2]))[0] ^= 1;
  const WeightImage second(changed.snapshot(5), &first), other(changed.snapshot(9), nullptr), stale(w.store.snapshot(10), &other);
  const grpc::Status status = w.send(w.parts(stale, true));
  CHECK(status.error_code() == StatusCode::FAILED_PRECONDITION);
  CHECK_MESSAGE(status.error_message().find("version 9") != std::string::npos, status.error_message());
  CHECK(w.version() == 4);
  CHECK(w.send(w.parts(second, true)).ok());
  CHECK(w.version() == 5);
}

}  // namespace
}  // namespace r1
