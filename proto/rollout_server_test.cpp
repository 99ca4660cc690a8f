// What the gRPC service answers: the engine's own tokens and numbers bit for bit; limits, tokens, TLS, deadlines, a drain; every wrong
// call refused by its status.
#include <doctest/doctest.h>

#include <atomic>
#include <condition_variable>
#include <fstream>

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include "proto/grpc_channel.h"
#include "proto/grpc_token.h"
#include "proto/rollout_test_support.h"
#include "proto/rollout_wire.h"
#include "proto/steady_engine.h"
#include "rollout.grpc.pb.h"
#include "rollout/engine_test_support.h"
#include "weights.grpc.pb.h"

namespace r1 {
namespace {

using namespace test;
using grpc::StatusCode;

RolloutNodeOptions tiny_node() {
  RolloutNodeOptions o;
  o.config = tiny_config();
  o.tokenizer = tiny_tokenizer();
  o.engine.kv_cache_bytes = 4 << 20;
  return o;
}

struct Answer {
  grpc::Status status;
  std::vector<Completion> completions;
  std::vector<std::vector<TokenId>> streamed;
  std::vector<std::vector<float>> streamed_logprobs;
};

struct Client {
  explicit Client(const std::string& address, GrpcTls tls = {}) : stub(wire_rollout::RolloutService::NewStub(open_channel(address, tls, 64 << 20))) {}
  std::unique_ptr<wire_rollout::RolloutService::Stub> stub;
  std::string token;

  Answer ask(const wire_rollout::GenerateRequest& request, double seconds = 60) const {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(static_cast<int>(1000 * seconds)));
    send_token(context, token);
    Answer out;
    out.completions.resize(request.samples() < 1000 ? request.samples() : 0);
    out.streamed.resize(out.completions.size());
    out.streamed_logprobs.resize(out.completions.size());
    const auto reader = stub->Generate(&context, request);
    wire_rollout::GenerateReply reply;
    while (reader->Read(&reply)) {
      for (const auto& t : reply.tokens()) {
        out.streamed.at(t.sample()).insert(out.streamed.at(t.sample()).end(), t.token_ids().begin(), t.token_ids().end());
        out.streamed_logprobs.at(t.sample()).insert(out.streamed_logprobs.at(t.sample()).end(), t.logprobs().begin(), t.logprobs().end());
      }
      for (auto& f : *reply.mutable_finished()) out.completions.at(f.sample()) = from_wire(f);
    }
    out.status = reader->Finish();
    return out;
  }
  wire_rollout::DescribeReply describe() const {
    grpc::ClientContext context;
    send_token(context, token);
    wire_rollout::DescribeReply reply;
    const grpc::Status status = stub->Describe(&context, {}, &reply);
    if (!status.ok()) throw Error(status.error_message());
    return reply;
  }
};

wire_rollout::GenerateRequest wire_of(const RolloutRequest& r, bool stream = false) {
  wire_rollout::GenerateRequest out;
  to_wire(r, 0, r.samples, stream, out);
  return out;
}

TEST_CASE("a group over gRPC has the bits of the engine in this process, whole and streamed, with its weights' version and digest") {
  RolloutNode node(tiny_node());
  RolloutRequest r = request(3, 9, 4, 20);
  r.sampling.want_entropy = true;
  r.sampling.stop_strings = {"aB"};
  LocalEngineOptions options;
  options.kv_cache_bytes = 4 << 20;
  LocalEngine local(node.model(), tiny_tokenizer(), options);  // the same weights
  const auto expected = run(local, {r}).at(0);
  const Client client(node.address());
  for (const bool stream : {false, true}) {
    const Answer a = client.ask(wire_of(r, stream));
    REQUIRE(a.status.ok());
    for (std::size_t s = 0; s < 4; ++s) {
      const Completion &got = a.completions[s], &want = expected[s];
      CHECK(got.tokens == want.tokens);
      CHECK(got.logprobs == want.logprobs);
      CHECK(got.entropies == want.entropies);
      CHECK(got.text == want.text);
      CHECK(got.stop == want.stop);
      REQUIRE(got.version_runs.size() == 1);
      CHECK(got.version_runs[0].version == 0);
      CHECK(got.version_runs[0].digest == node.model().weights().digest());
      CHECK(a.streamed[s] == (stream ? want.tokens : std::vector<TokenId>()));
      CHECK(a.streamed_logprobs[s] == (stream ? want.logprobs : std::vector<float>()));
    }
  }
  // Part of a group, as a client asks for what it misses.
  wire_rollout::GenerateRequest part;
  to_wire(r, 2, 2, false, part);
  const Answer rest = client.ask(part);
  CHECK(rest.completions[0].logprobs == expected[2].logprobs);
  CHECK(rest.completions[1].logprobs == expected[3].logprobs);
}

TEST_CASE("Describe says what a client must know") {
  RolloutNode node(tiny_node());
  const auto d = Client(node.address()).describe();
  CHECK(d.protocol() == 1);
  CHECK(d.context() == static_cast<std::uint64_t>(tiny_config().max_position_embeddings));
  CHECK(d.vocab_size() == static_cast<std::uint64_t>(tiny_config().vocab_size));
  CHECK(d.tokenizer() == tokenizer_digest(*tiny_tokenizer()));
  CHECK(d.max_calls() == 64);
  const std::string first = d.instance();
  node.stop();
  node.start();
  CHECK(Client(node.address()).describe().instance() != first);
}

TEST_CASE("wrong requests are INVALID_ARGUMENT naming the field; unexpected weights FAILED_PRECONDITION; too long a message is refused") {
  RolloutNode node(tiny_node());
  const Client client(node.address());
  const auto good = wire_of(request(1, 5, 1, 4));
  const auto refused = [&](const std::function<void(wire_rollout::GenerateRequest&)>& edit, StatusCode code, const std::string& word) {
    auto bad = good;
    edit(bad);
    const Answer a = client.ask(bad);
    CHECK(a.status.error_code() == code);
    CHECK_MESSAGE(a.status.error_message().find(word) != std::string::npos, a.status.error_message());
  };
  refused([](auto& r) { r.set_samples(0); }, StatusCode::INVALID_ARGUMENT, "samples is 0");
  refused([](auto& r) { r.set_samples(4'000'000'000u); }, StatusCode::INVALID_ARGUMENT, "--max-samples");
  refused([](auto& r) { r.mutable_sampling()->set_max_new_tokens(1'000'000); }, StatusCode::INVALID_ARGUMENT, "--max-new-tokens");
  refused([](auto& r) { r.mutable_sampling()->set_max_new_tokens(0); }, StatusCode::INVALID_ARGUMENT, "max_new_tokens");
  refused([](auto& r) { r.mutable_sampling()->set_temperature(-1); }, StatusCode::INVALID_ARGUMENT, "temperature");
  refused([](auto& r) { r.mutable_sampling()->set_top_k(4'000'000'000u); }, StatusCode::INVALID_ARGUMENT, "top_k");
  refused([](auto& r) { r.clear_prompt_tokens(); }, StatusCode::INVALID_ARGUMENT, "no tokens");
  refused([](auto& r) { r.set_prompt_tokens(0, 99'999); }, StatusCode::INVALID_ARGUMENT, "99999");
  refused([](auto& r) { for (int i = 0; i < 65; ++i) r.mutable_sampling()->add_stop_strings("x"); }, StatusCode::INVALID_ARGUMENT, "stop strings");
  refused([](auto& r) { r.mutable_expect()->set_version(3); }, StatusCode::FAILED_PRECONDITION, "version 3");
  refused([](auto& r) { r.mutable_expect()->set_digest("short"); }, StatusCode::INVALID_ARGUMENT, "5 bytes");
  refused([](auto& r) { r.set_prompt_id(std::string(17 << 20, 'x')); }, StatusCode::RESOURCE_EXHAUSTED, "larger than max");
  CHECK(client.ask(good).status.ok());
  CHECK(node.server().counts().refused == 6);  // those that never came to the engine
}

// Calls a method with bytes of the caller's: what any program may send.
struct Raw {
  explicit Raw(const std::string& address) : stub(open_channel(address, {}, 64 << 20)) {}
  grpc::Status call(const std::string& method, const std::string& bytes, std::string& answer) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    grpc::CompletionQueue queue;
    const auto call = stub.PrepareCall(&context, method, &queue);
    grpc::Status status;
    grpc::ByteBuffer reply;
    const grpc::Slice slice(bytes);
    void* tag = nullptr;
    bool ok = false;
    const auto next = [&] { return queue.Next(&tag, &ok) && ok; };
    call->StartCall(nullptr);
    if (next()) {
      call->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), nullptr);
      if (next()) {
        call->Read(&reply, nullptr);
        std::vector<grpc::Slice> slices;
        if (next() && reply.Dump(&slices).ok())
          for (const grpc::Slice& s : slices) answer.append(reinterpret_cast<const char*>(s.begin()), s.size());
      }
    }
    call->Finish(&status, nullptr);
    next();
    queue.Shutdown();
    while (queue.Next(&tag, &ok)) {}
    return status;
  }
  // HealthCheckRequest{service = 1}; the reply's status = 1: 1 SERVING, 2 NOT_SERVING.
  int health(const std::string& service) {
    std::string answer, request = service.empty() ? "" : std::string("\x0a") + static_cast<char>(service.size()) + service;
    const grpc::Status status = call("/grpc.health.v1.Health/Check", request, answer);
    return status.ok() && answer.size() == 2 ? answer[1] : -static_cast<int>(status.error_code());
  }
  grpc::GenericStub stub;
};

TEST_CASE("health and reflection are the standard ones; bytes that are no message are refused, and the server goes on") {
  RolloutNode node(tiny_node());
  Raw raw(node.address());
  for (const char* service : {"", "r1.rollout.v1.RolloutService", "r1.weights.v1.WeightService"}) CHECK(raw.health(service) == 1);
  CHECK(raw.health("nobody") == -static_cast<int>(StatusCode::NOT_FOUND));
  std::string services;
  raw.call("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", std::string("\x3a\x01*"), services);  // list_services = 7
  CHECK(services.find("r1.rollout.v1.RolloutService") != std::string::npos);
  CHECK(services.find("r1.weights.v1.WeightService") != std::string::npos);
  for (const char* method : {"/r1.rollout.v1.RolloutService/Generate", "/r1.rollout.v1.RolloutService/Describe", "/r1.rollout.v1.RolloutService/Cancel", "/r1.weights.v1.WeightService/Update"}) {
    std::string answer;
    CHECK_FALSE(raw.call(method, "\xff\xff\xff\xff", answer).ok());
    CHECK(answer.empty());
  }
  std::string answer;
  CHECK(raw.call("/r1.rollout.v1.RolloutService/Nothing", "", answer).error_code() == StatusCode::UNIMPLEMENTED);
  CHECK(Client(node.address()).ask(wire_of(request(1, 5, 1, 4))).status.ok());
}

TEST_CASE("without the token no method answers; beyond this machine a server starts only with token and TLS") {
  RolloutNodeOptions o = tiny_node();
  o.server.token = "secret";
  RolloutNode node(o);
  Client client(node.address());
  const auto good = wire_of(request(1, 5, 1, 4));
  CHECK(client.ask(good).status.error_code() == StatusCode::UNAUTHENTICATED);
  CHECK_THROWS_WITH_AS(client.describe(), doctest::Contains("no token was sent"), Error);
  client.token = "secreT";
  CHECK(client.ask(good).status.error_code() == StatusCode::UNAUTHENTICATED);
  {
    const auto weights = wire_weights::WeightService::NewStub(open_channel(node.address(), {}, 1 << 20));
    grpc::ClientContext context;
    wire_weights::UpdateReply reply;
    const auto writer = weights->Update(&context, &reply);
    writer->WritesDone();
    CHECK(writer->Finish().error_code() == StatusCode::UNAUTHENTICATED);
  }
  client.token = "secret";
  CHECK(client.ask(good).status.ok());

  o.server.listen.address = "0.0.0.0:0";
  CHECK_THROWS_WITH_AS(RolloutNode{o}, doctest::Contains("--tls-cert"), ConfigError);
  o.server.listen.cert = o.server.listen.key = "some.pem", o.server.token = "";
  CHECK_THROWS_WITH_AS(RolloutNode{o}, doctest::Contains("--token-env"), ConfigError);
}

TEST_CASE("more calls than the limit are RESOURCE_EXHAUSTED; cancelled, late and drained calls end; aborted samples keep their tokens") {
  SteadyEngine engine;
  EngineLoop loop(engine, 3);
  ServedRollout served;
  served.model.context = 1 << 20, served.model.max_new_tokens = 1 << 20;
  RolloutServer server({}, loop, engine, served);
  const Client client("127.0.0.1:" + std::to_string(server.port()));
  auto endless = wire_of(request(1, 5, 1, 1 << 20));
  const auto running = [&](int n) {
    for (int i = 0; i < 2000 && loop.counts().active != n; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return loop.counts().active == n;
  };

  CHECK(client.ask(endless, 0.2).status.error_code() == StatusCode::DEADLINE_EXCEEDED);
  CHECK(running(0));

  std::vector<std::thread> callers;
  std::vector<Answer> answers(3);
  for (int i = 0; i < 3; ++i)
    callers.emplace_back([&, i] {
      auto mine = endless;
      mine.set_request_id("call" + std::to_string(i));
      answers[static_cast<std::size_t>(i)] = client.ask(mine);
    });
  REQUIRE(running(3));
  const Answer full = client.ask(endless);
  CHECK(full.status.error_code() == StatusCode::RESOURCE_EXHAUSTED);
  CHECK(full.status.error_message().find("--max-calls") != std::string::npos);

  const auto cancel = [&](const std::string& id) {
    grpc::ClientContext context;
    wire_rollout::CancelRequest request;
    request.set_request_id(id);
    wire_rollout::CancelReply reply;
    REQUIRE(client.stub->Cancel(&context, request, &reply).ok());
    return reply.calls();
  };
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  CHECK(cancel("nobody") == 0);
  CHECK(cancel("call1") == 1);
  callers[1].join();
  CHECK(answers[1].status.ok());
  CHECK(answers[1].completions[0].stop == StopReason::kAborted);
  CHECK(answers[1].completions[0].tokens.size() >= 1);
  for (int i = 0; i < 1000 && cancel("call1") != 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  CHECK(cancel("call1") == 0);

  CHECK(server.drain(std::chrono::milliseconds(100)) == 2);
  callers[0].join();
  callers[2].join();
  CHECK_FALSE(answers[0].status.ok());
  CHECK_FALSE(answers[2].status.ok());
  CHECK(running(0));
}

TEST_CASE("a drain lets running calls finish and refuses new ones as UNAVAILABLE") {
  SteadyEngine engine;
  EngineLoop loop(engine, 8);
  ServedRollout served;
  served.model.context = 1 << 20, served.model.max_new_tokens = 1 << 20;
  RolloutServer server({}, loop, engine, served);
  const Client client("127.0.0.1:" + std::to_string(server.port()));
  Answer answer;
  std::thread caller([&] { answer = client.ask(wire_of(request(1, 5, 1, 200))); });
  for (int i = 0; i < 2000 && loop.counts().active == 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  Raw raw("127.0.0.1:" + std::to_string(server.port()));
  CHECK(raw.health("r1.rollout.v1.RolloutService") == 1);
  int cut = -1;
  std::thread drainer([&] { cut = server.drain(std::chrono::seconds(60)); });
  while (!loop.closed()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  CHECK(client.ask(wire_of(request(1, 5, 1, 4))).status.error_code() == StatusCode::UNAVAILABLE);
  CHECK(raw.health("r1.rollout.v1.RolloutService") == 2);
  CHECK(raw.health("") == 2);
  caller.join();
  drainer.join();
  CHECK(answer.status.ok());
  CHECK(answer.completions[0].tokens.size() == 200);
  CHECK(cut == 0);
}

// One of many streams, without a thread of its own.
struct Stream final : grpc::ClientReadReactor<wire_rollout::GenerateReply> {
  void start(wire_rollout::RolloutService::Stub& stub, std::function<void()> done) {
    on_done = std::move(done);
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(100));
    stub.async()->Generate(&context, &request, this);
    StartRead(&reply);
    StartCall();
  }
  void OnReadDone(bool ok) override {
    if (!ok) return;
    for (const auto& t : reply.tokens()) tokens += t.token_ids_size();
    finished += reply.finished_size();
    StartRead(&reply);
  }
  void OnDone(const grpc::Status& s) override {
    status = s;
    on_done();
  }
  grpc::ClientContext context;
  wire_rollout::GenerateRequest request;
  wire_rollout::GenerateReply reply;
  int tokens = 0, finished = 0;
  grpc::Status status;
  std::function<void()> on_done;
};

double resident_mb() {
  std::ifstream in("/proc/self/statm");
  double size = 0, resident = 0;
  in >> size >> resident;
  return resident * 4096 / (1 << 20);
}

TEST_CASE("a thousand streams at once: every token of each arrives, in bounded memory") {
  constexpr int kStreams = 1000, kTokens = 8;
  SteadyEngine engine;
  EngineLoop loop(engine, kStreams);
  ServedRollout served;
  served.model.context = 1 << 20;
  RolloutServer server({}, loop, engine, served);
  const Client client("127.0.0.1:" + std::to_string(server.port()));
  std::vector<std::unique_ptr<Stream>> streams;
  std::mutex mutex;
  std::condition_variable all;
  int left = kStreams;
  const double before_mb = resident_mb();
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kStreams; ++i) {
    streams.push_back(std::make_unique<Stream>());
    streams.back()->request = wire_of(request(static_cast<std::uint64_t>(i), 5, 1, kTokens), true);
    streams.back()->start(*client.stub, [&] {
      const std::lock_guard lock(mutex);
      if (--left == 0) all.notify_one();
    });
  }
  {
    std::unique_lock lock(mutex);
    REQUIRE(all.wait_for(lock, std::chrono::seconds(100), [&] { return left == 0; }));
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  int right = 0;
  for (const auto& s : streams) right += s->status.ok() && s->tokens == kTokens && s->finished == 1;
  CHECK(right == kStreams);
  CHECK(loop.counts().finished == kStreams);
  const EngineLoopCounts counts = loop.counts();
  std::int64_t below = 0;
  std::size_t bucket = 0;
  while (bucket < counts.first_token.size() && (below += counts.first_token[bucket]) < kStreams * 99 / 100) ++bucket;
  const double mb = resident_mb() - before_mb;
  CHECK(mb < 300);
  MESSAGE("1000 streams of 8 tokens: ", seconds, " s, ", mb, " MB more; 99 % had their first token within ", bucket < counts.kBounds.size() ? counts.kBounds[bucket] : 1e9, " s");
}

}  // namespace
}  // namespace r1
