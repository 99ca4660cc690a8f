// The engine on other machines behind the engine's interface: the same bits from one server and from three, while they die and come back;
// and errors that name the server and what it was waited for.
#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include <grpcpp/grpcpp.h>

#include "core/signals.h"
#include "proto/rollout_test_support.h"
#include "proto/rollout_wire.h"
#include "proto/steady_engine.h"
#include "rollout.grpc.pb.h"
#include "rollout/engine_test_support.h"
#include "tests/support/errors.h"
#include "weights.grpc.pb.h"

namespace r1 {
namespace {

using namespace test;
using namespace std::chrono_literals;

RolloutNodeOptions tiny_node() {
  RolloutNodeOptions o;
  o.config = tiny_config();
  o.tokenizer = tiny_tokenizer();
  o.engine.kv_cache_bytes = 4 << 20;
  o.engine.max_rows = 8;
  return o;
}

std::vector<RolloutRequest> some_requests(int n, int tokens = 16) {
  std::vector<RolloutRequest> out;
  for (int i = 0; i < n; ++i) out.push_back(request(static_cast<std::uint64_t>(i), 5 + i % 7, 1 + i % 4, tokens));
  return out;
}

void check_same(const std::vector<std::vector<Completion>>& got, const std::vector<std::vector<Completion>>& want) {
  REQUIRE(got.size() == want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    REQUIRE(got[i].size() == want[i].size());
    for (std::size_t s = 0; s < want[i].size(); ++s) {
      CHECK(got[i][s].tokens == want[i][s].tokens);
      CHECK(got[i][s].logprobs == want[i][s].logprobs);
      CHECK(got[i][s].text == want[i][s].text);
      CHECK(got[i][s].stop == want[i][s].stop);
    }
  }
}

TEST_CASE("one server and three give the completions of the engine in this process, each server a share") {
  TinyModel m(DType::kBF16, 4, 1);
  LocalEngineOptions local;
  local.kv_cache_bytes = 4 << 20;
  const auto requests = some_requests(24);
  const auto expected = run(m.transformer, local, requests);
  std::vector<std::unique_ptr<RolloutNode>> nodes;
  std::vector<std::string> addresses;
  for (int i = 0; i < 3; ++i) {
    nodes.push_back(std::make_unique<RolloutNode>(tiny_node()));
    addresses.push_back(nodes.back()->address());
  }
  {
    const auto engine = make_grpc_engine(engine_options({addresses[0]}), tiny_tokenizer());
    engine->load_weights(m.transformer.weights().snapshot(2));
    CHECK(engine->weight_version() == 2);
    check_same(run(*engine, requests), expected);
  }
  const auto engine = make_grpc_engine(engine_options(addresses), tiny_tokenizer());
  engine->load_weights(m.transformer.weights().snapshot(2));
  const auto all_work = [&] { return std::all_of(nodes.begin(), nodes.end(), [](const auto& node) { return node->server().counts().calls > 1; }); };
  for (int i = 0; i < 20 && !all_work(); ++i) check_same(run(*engine, requests), expected);
  CHECK(all_work());
}

TEST_CASE("streamed tokens are each sample's own, also where its server dies on the way") {
  TinyModel m(DType::kBF16, 4, 1);
  RolloutNode a(tiny_node()), b(tiny_node());
  const auto engine = make_grpc_engine(engine_options({a.address(), b.address()}), tiny_tokenizer());
  engine->load_weights(m.transformer.weights().snapshot(1));
  const auto requests = some_requests(8, 60);
  const auto expected = run(m.transformer, {}, requests);
  std::map<std::pair<RequestId, int>, std::pair<std::vector<TokenId>, std::string>> streamed;
  std::map<RequestId, std::size_t> index;
  for (std::size_t i = 0; i < requests.size(); ++i) index[engine->submit(requests[i])] = i;
  int events = 0, finished = 0;
  engine->wait([&](RolloutEvent&& e) {
    if (++events == 20) a.stop();
    auto& [tokens, text] = streamed[{e.request, e.sample}];
    if (e.kind == RolloutEvent::Kind::kTokens) {
      tokens.insert(tokens.end(), e.tokens.begin(), e.tokens.end());
      text += e.text;
      CHECK(e.logprobs.size() == e.tokens.size());
      return;
    }
    ++finished;
    const Completion& want = expected[index.at(e.request)][static_cast<std::size_t>(e.sample)];
    CHECK(e.completion.tokens == want.tokens);
    CHECK(tokens == want.tokens);
    CHECK(text == want.text);
  }, true);
  CHECK(finished == 20);
}

TEST_CASE("servers that die and come back, and one that joins late: every sample once, with the right bits") {
  TinyModel m(DType::kBF16, 4, 1);
  const auto requests = some_requests(40, 30);
  const auto expected = run(m.transformer, {}, requests);
  std::vector<std::unique_ptr<RolloutNode>> nodes;
  std::vector<std::string> addresses;
  for (int i = 0; i < 3; ++i) {
    nodes.push_back(std::make_unique<RolloutNode>(tiny_node()));
    addresses.push_back(nodes.back()->address());
  }
  nodes[2]->stop();  // it comes later
  const auto engine = make_grpc_engine(engine_options(addresses), tiny_tokenizer());
  std::atomic<bool> done{false};
  std::thread killer([&] {
    for (std::size_t k = 2; !done; ++k) {
      nodes[k % 3]->stop();
      std::this_thread::sleep_for(20ms);
      nodes[k % 3]->start();
      std::this_thread::sleep_for(60ms);
    }
  });
  std::string failure;
  try {
    for (WeightVersion version = 1; version <= 3; ++version) {
      engine->load_weights(m.transformer.weights().snapshot(version));
      std::map<std::pair<RequestId, int>, int> seen;
      std::map<RequestId, std::size_t> index;
      for (std::size_t i = 0; i < requests.size(); ++i) index[engine->submit(requests[i])] = i;
      engine->wait([&](RolloutEvent&& e) {
        ++seen[{e.request, e.sample}];
        const Completion& want = expected[index.at(e.request)][static_cast<std::size_t>(e.sample)];
        CHECK(e.completion.tokens == want.tokens);
        CHECK(e.completion.logprobs == want.logprobs);
        CHECK(e.completion.version_runs.at(0).version == version);
      });
      CHECK(seen.size() == 100);
      for (const auto& [sample, times] : seen) CHECK(times == 1);
    }
  } catch (const std::exception& e) {
    failure = e.what();
  }
  done = true;
  killer.join();
  CHECK(failure == "");
  MESSAGE("asked for again: ", grpc_engine_counts(*engine).retried);
}

TEST_CASE("cancelled requests finish as aborted, at servers and waiting; the others go on") {
  SteadyEngine steady;
  EngineLoop loop(steady, 1);
  ServedRollout served;
  served.model.context = 1 << 20, served.model.max_new_tokens = 1 << 20;
  served.slots = 64;
  RolloutServer server({}, loop, steady, served);
  const auto engine = make_grpc_engine(engine_options({"127.0.0.1:" + std::to_string(server.port())}), nullptr);
  const RequestId endless = engine->submit(request(1, 5, 1, 1 << 20)), waiting = engine->submit(request(2, 5, 1, 1 << 20)), fine = engine->submit(request(3, 5, 1, 30));
  int tokens = 0;
  std::map<RequestId, std::vector<Completion>> got;
  engine->wait([&](RolloutEvent&& e) {
    if (e.kind == RolloutEvent::Kind::kTokens) {
      if (++tokens == 5) engine->cancel(endless), engine->cancel(waiting);
      return;
    }
    got[e.request].push_back(e.completion);
  }, true);
  REQUIRE(got[endless].size() == 1);
  CHECK(got[endless][0].stop == StopReason::kAborted);
  CHECK(got[endless][0].tokens.size() > 0);
  REQUIRE(got[waiting].size() == 1);
  CHECK(got[waiting][0].stop == StopReason::kAborted);
  REQUIRE(got[fine].size() == 1);
  CHECK(got[fine][0].stop == StopReason::kLength);
  CHECK(got[fine][0].tokens.size() == 30);
}

TEST_CASE("an exception of the caller ends every request; the engine goes on with the next") {
  RolloutNode node(tiny_node());
  const auto engine = make_grpc_engine(engine_options({node.address()}), tiny_tokenizer());
  for (const RolloutRequest& r : some_requests(6)) engine->submit(r);
  CHECK_THROWS_WITH(engine->wait([](RolloutEvent&&) { throw Error("enough"); }), "enough");
  const auto got = run(*engine, some_requests(3));
  CHECK(got.size() == 3);
}

TEST_CASE("errors name the server and what is wrong, or what it was waited for") {
  RolloutNode node(tiny_node());
  GrpcEngineOptions o = engine_options({node.address()});
  o.start_timeout_s = o.stall_timeout_s = 0.5;
  CHECK(test::contains(test::error_of<std::exception>([&] { make_grpc_engine(engine_options({"127.0.0.1:1", "127.0.0.1:x"}), nullptr); }), "HOST:PORT"));
  GrpcEngineOptions nobody = o;
  nobody.servers = {"127.0.0.1:1"};
  const std::string down = test::error_of<std::exception>([&] { make_grpc_engine(nobody, nullptr); });
  CHECK_MESSAGE(test::contains(down, "127.0.0.1:1: not reached"), down);
  CHECK(test::contains(down, "start_timeout"));

  const auto one_letter = Tokenizer::from_json(
      R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,"post_processor":null,
          "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},
          "decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true},
          "model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,"end_of_word_suffix":null,
                   "fuse_unk":false,"byte_fallback":false,"vocab":{"a":0},"merges":[]}})", "one letter");
  const std::string tokenizer = test::error_of<std::exception>([&] { make_grpc_engine(o, one_letter); });
  CHECK_MESSAGE(test::contains(tokenizer, "another tokenizer"), tokenizer);
  CHECK(test::contains(tokenizer, node.address()));

  const auto engine = make_grpc_engine(o, tiny_tokenizer());
  CHECK(test::contains(test::error_of<std::exception>([&] { engine->submit(request(1, 5, 1, 1 << 20)); }), "context"));
  RolloutRequest bad = request(1, 5, 1, 4);
  bad.sampling.stop_strings.assign(70, "x");
  const std::string refused = test::error_of<std::exception>([&] { run(*engine, {bad}); });
  CHECK_MESSAGE(test::contains(refused, node.address()), refused);
  CHECK(test::contains(refused, "stop strings"));

  WeightStore other(tiny_config(), DType::kF32);
  engine->load_weights(other.snapshot(1));
  const std::string foreign = test::error_of<std::exception>([&] { run(*engine, {request(1, 5, 1, 4)}); });
  CHECK_MESSAGE(test::contains(foreign, "type is F32"), foreign);
  CHECK(test::contains(foreign, node.address()));
  CHECK(test::contains(foreign, other.parameters()[0].name));

  const auto second = make_grpc_engine(o, tiny_tokenizer());
  node.stop();
  const std::string gone = test::error_of<std::exception>([&] { run(*second, {request(1, 5, 1, 4)}); });
  CHECK_MESSAGE(test::contains(gone, node.address() + ": not reached"), gone);
  CHECK(test::contains(gone, "stall_timeout"));
}

// A server that is wrong in one way.
struct WrongServer final : wire_rollout::RolloutService::Service {
  enum class Way { kVersion, kDigest, kShort, kSlow, kModel, kTruncated, kAborted } way;
  explicit WrongServer(Way w) : way(w) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(this);
    builder.RegisterService(&weights);
    server = builder.BuildAndStart();
  }
  ~WrongServer() override { server->Shutdown(std::chrono::system_clock::now()); }
  struct Weights final : wire_weights::WeightService::Service {
    std::atomic<bool> stuck{false};
    grpc::Status Update(grpc::ServerContext* context, grpc::ServerReader<wire_weights::UpdatePart>* reader, wire_weights::UpdateReply* reply) override {
      while (stuck && !context->IsCancelled()) std::this_thread::sleep_for(10ms);
      wire_weights::UpdatePart part;
      while (reader->Read(&part))
        if (part.has_header()) reply->set_version(part.header().version()), reply->set_digest(part.header().digest());
      return grpc::Status::OK;
    }
  };
  grpc::Status Describe(grpc::ServerContext*, const wire_rollout::DescribeRequest*, wire_rollout::DescribeReply* reply) override {
    reply->set_protocol(1);
    reply->set_slots(8), reply->set_max_calls(8), reply->set_context(1000), reply->set_vocab_size(512);
    return grpc::Status::OK;
  }
  grpc::Status Generate(grpc::ServerContext* context, const wire_rollout::GenerateRequest* request, grpc::ServerWriter<wire_rollout::GenerateReply>* writer) override {
    wire_rollout::GenerateReply reply;
    auto& c = *reply.add_finished();
    c.add_token_ids(5);
    if (way != Way::kTruncated) c.add_logprobs(-1);
    c.set_stop(way == Way::kAborted ? wire_rollout::STOP_REASON_ABORTED : wire_rollout::STOP_REASON_EOS);
    auto& weights = *c.add_version_runs()->mutable_weights();
    weights = request->expect();
    if (way == Way::kVersion) weights.set_version(weights.version() - 1);
    if (way == Way::kDigest) weights.set_digest(std::string(16, 'd'));
    if (way == Way::kModel) return {grpc::StatusCode::INTERNAL, "the model failed: a NaN"};
    if (way == Way::kSlow) while (!context->IsCancelled()) std::this_thread::sleep_for(10ms);
    if (way != Way::kShort) writer->Write(reply);
    return grpc::Status::OK;
  }
  Weights weights;
  std::unique_ptr<grpc::Server> server;
  int port = 0;
};

TEST_CASE("completions of other weights, broken ones, and servers that answer too little or too late are errors, never samples") {
  using Way = WrongServer::Way;
  WeightStore store(tiny_config(), DType::kBF16);
  for (const auto& [way, word] : {std::pair{Way::kVersion, "drawn with weights of version 6"}, {Way::kDigest, "digest 6464"}, {Way::kShort, "without all samples"},
                                  {Way::kSlow, "waited 0.2 s"}, {Way::kModel, "a NaN"}, {Way::kTruncated, "1 tokens and 0 log-prob"}, {Way::kAborted, "without all samples"}}) {
    WrongServer wrong(way);
    GrpcEngineOptions o = engine_options({"127.0.0.1:" + std::to_string(wrong.port)});
    o.call_timeout_s = 0.2;
    o.retries = 2;
    const auto engine = make_grpc_engine(o, nullptr);
    engine->load_weights(store.snapshot(7));
    const std::string text = test::error_of<std::exception>([&] { run(*engine, {request(1, 5, 1, 4)}); });
    CHECK_MESSAGE(test::contains(text, word), text);
    CHECK_MESSAGE(test::contains(text, o.servers[0]), text);
  }
}

TEST_CASE("a server that takes no weights: each limit ends the wait, naming it and the version") {
  WeightStore store(tiny_config(), DType::kBF16);
  WrongServer wrong(WrongServer::Way::kSlow);
  wrong.weights.stuck = true;
  GrpcEngineOptions o = engine_options({"127.0.0.1:" + std::to_string(wrong.port)});
  o.stall_timeout_s = 1;
  for (const double limit : {600.0, 0.2}) {
    o.weights_timeout_s = limit;
    const auto engine = make_grpc_engine(o, nullptr);
    engine->load_weights(store.snapshot(7));
    const std::string text = test::error_of<std::exception>([&] { run(*engine, {request(1, 5, 1, 4)}); });
    CHECK_MESSAGE(test::contains(text, o.servers[0]), text);
    CHECK_MESSAGE(test::contains(text, "weights of version 7"), text);
    CHECK_MESSAGE(test::contains(text, "stall_timeout"), text);
  }
}

TEST_CASE("a stop request ends a wait for servers that are gone") {
  RolloutNode node(tiny_node());
  const auto engine = make_grpc_engine(engine_options({node.address()}), tiny_tokenizer());
  node.stop();
  std::thread stopper([] {
    std::this_thread::sleep_for(100ms);
    request_stop();
  });
  CHECK_THROWS_AS(run(*engine, {request(1, 5, 1, 4)}), Interrupted);
  stopper.join();
  reset_stop_for_tests();
}

}  // namespace
}  // namespace r1
