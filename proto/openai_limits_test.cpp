// The service under load and abuse: strangers, large and torn requests, clients that go away, shutdown, 200 streams at once.
#include <doctest/doctest.h>

#include <atomic>
#include <fstream>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/http_text.h"
#include "proto/openai_test_support.h"

namespace r1 {
namespace {

using namespace test;
using namespace std::chrono_literals;

// A connection that sends just these bytes.
class Raw {
 public:
  Raw(int port, const std::string& bytes) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<std::uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(connect(socket_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
    send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  ~Raw() { close(); }
  void close() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
  }
  std::string read_all() {
    std::string all;
    char part[4096];
    for (ssize_t n; (n = recv(socket_, part, sizeof part, 0)) > 0;) all.append(part, static_cast<std::size_t>(n));
    return all;
  }

 private:
  int socket_;
};

std::string post_of(const std::string& body) {
  return message("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ", body.size(), "\r\n\r\n", body);
}

bool within(std::chrono::milliseconds limit, const std::function<bool()>& true_now) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!true_now()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(5ms);
  }
  return true;
}

TEST_CASE("a token is asked for on every path but /health, and beyond loopback there must be one") {
  SteadyEngine engine;
  OpenAiServerOptions options = any_port();
  options.token = "s3cret";
  const Service service(engine, options);
  const std::string body = R"({"prompt":"a","max_tokens":2})";
  const auto status = [&](const httplib::Headers& headers) {
    return service.client().Post("/v1/completions", headers, body, "application/json")->status;
  };
  CHECK(status({}) == 401);
  CHECK(status({{"Authorization", "Bearer s3cre"}}) == 401);
  CHECK(status({{"Authorization", "Bearer s3cretx"}}) == 401);
  CHECK(status({{"Authorization", "s3cret"}}) == 401);
  CHECK(status({{"Authorization", "Bearer s3cret"}}) == 200);
  CHECK(service.client().Get("/metrics")->status == 401);
  CHECK(service.client().Get("/v1/models")->status == 401);
  CHECK(service.client().Get("/health")->status == 200);
  CHECK(Json::parse(service.client().Get("/metrics")->body)["error"]["code"] == "invalid_api_key");

  OpenAiServerOptions open = any_port();
  open.listen = "0.0.0.0:0";
  EngineLoop loop(engine, 1);
  CHECK_THROWS_WITH_AS(OpenAiServer(open, loop, served_model()), doctest::Contains("--token-env"), ConfigError);
  OpenAiServerOptions taken = any_port();
  taken.listen = message("127.0.0.1:", service.server.port());
  CHECK_THROWS_WITH_AS(OpenAiServer(taken, loop, served_model()), doctest::Contains("in use"), ConfigError);
}

TEST_CASE("large, unbounded, compressed, torn and slow requests are refused and leave nothing behind") {
  SteadyEngine engine;
  OpenAiServerOptions options = any_port();
  options.max_body_mb = 1;
  options.read_limit = 300ms;
  const Service service(engine, options);
  const int port = service.server.port();
  const auto start = std::chrono::steady_clock::now();
  const auto large = service.client().Post("/v1/completions", std::string(3 << 20, 'x'), "application/json");
  REQUIRE(large);
  CHECK(large->status == 413);
  CHECK(Json::parse(large->body)["error"]["message"].get<std::string>().find("limit is 1 MiB") != std::string::npos);
  const auto head = [](const char* field) { return message("POST /v1/completions HTTP/1.1\r\nHost: x\r\n", field, "\r\n\r\n"); };
  CHECK(Raw(port, head("Content-Length: 99999999999")).read_all().starts_with("HTTP/1.1 413"));
  CHECK(Raw(port, head("Content-Length: -1")).read_all().starts_with("HTTP/1.1 411"));
  CHECK(Raw(port, head("Transfer-Encoding: chunked")).read_all().starts_with("HTTP/1.1 411"));
  CHECK(Raw(port, head("Content-Length: 20\r\nContent-Encoding: gzip")).read_all().starts_with("HTTP/1.1 415"));
  CHECK(Raw(port, head("Content-Length: 50") + "{\"prompt\"").read_all().find("HTTP/1.1 200") == std::string::npos);  // torn: ends at the limit
  CHECK(Raw(port, "POST /v1/comp").read_all().find("HTTP/1.1 200") == std::string::npos);
  CHECK(Raw(port, "GET / HTTP/1.1\r\nX: " + std::string(200'000, 'x')).read_all().find("HTTP/1.1 200") == std::string::npos);
  CHECK(Raw(port, "\x16\x03\x01 no http at all\r\n\r\n").read_all().find("HTTP/1.1 200") == std::string::npos);
  CHECK(std::chrono::steady_clock::now() - start < 10s);  // none keeps its connection
  CHECK(service.loop.counts().accepted == 0);
  CHECK(service.ask("/v1/completions", {{"prompt", "a"}, {"max_tokens", 2}})["choices"][0]["text"] == "");
}

TEST_CASE("a client that goes away cancels its call, streaming or not") {
  SteadyEngine engine;
  const Service service(engine, any_port(), served_model(1 << 20));
  for (const bool stream : {false, true}) {
    CAPTURE(stream);
    const std::int64_t before = service.loop.counts().cancelled;
    Raw client(service.server.port(), post_of(Json{{"prompt", "a"}, {"max_tokens", 1'000'000}, {"stream", stream}}.dump()));
    CHECK(within(5s, [&] { return service.loop.counts().active == 1; }));
    std::this_thread::sleep_for(50ms);
    CHECK(service.loop.counts().active == 1);
    client.close();
    CHECK(within(5s, [&] { return service.loop.counts().active == 0; }));
    CHECK(service.loop.counts().cancelled == before + 1);
  }
}

TEST_CASE("calls over the limit are told to come again, which our own client does") {
  SteadyEngine engine;
  const Service service(engine, any_port(), served_model(1 << 20), 1);
  Raw busy(service.server.port(), post_of(R"({"prompt":"a","max_tokens":1000000})"));
  REQUIRE(within(5s, [&] { return service.loop.counts().active == 1; }));
  const auto refused = service.client().Post("/v1/completions", R"({"prompt":"a"})", "application/json");
  CHECK(refused->status == 429);
  CHECK(refused->get_header_value("Retry-After") == "1");
  CHECK(Json::parse(refused->body)["error"]["code"] == "rate_limit_exceeded");

  HttpTextOptions client;
  client.url = message("http://127.0.0.1:", service.server.port(), "/v1");
  client.model = "tiny";
  client.chat = true;
  const TextClient ask = make_http_text(client);
  std::thread free([&] {
    std::this_thread::sleep_for(100ms);
    busy.close();
  });
  Prompt prompt;
  prompt.messages = {{"user", "x"}};
  TextRequest request{&prompt, {}, 5};
  request.sampling.max_new_tokens = 7;
  const TextReply reply = ask(request);
  free.join();
  CHECK(reply.status == TextReply::Status::kText);
  CHECK(reply.tokens == 7);
  CHECK(reply.stop == StopReason::kLength);
}

TEST_CASE("a drain refuses new calls, lets those that run finish, and ends what does not in time") {
  SteadyEngine engine;
  for (const bool in_time : {true, false}) {
    CAPTURE(in_time);
    Service service(engine, any_port(), served_model(1 << 20));
    const int port = service.server.port();
    Raw running(port, post_of(Json{{"prompt", "a"}, {"max_tokens", in_time ? 300 : 1'000'000}, {"stream", true}}.dump()));
    REQUIRE(within(5s, [&] { return service.loop.counts().active == 1; }));
    int cut = -1;
    std::thread drain([&] { cut = service.server.drain(in_time ? 20s : 200ms); });
    CHECK(within(2s, [&] { return service.loop.closed(); }));
    if (in_time) {
      CHECK(service.client().Get("/health")->status == 503);
      CHECK(service.client().Post("/v1/completions", R"({"prompt":"a"})", "application/json")->status == 503);
    }
    drain.join();
    const std::string all = running.read_all();
    CHECK(cut == (in_time ? 0 : 1));
    CHECK((all.find("[DONE]") != std::string::npos) == in_time);
    CHECK((all.find("shutting_down") != std::string::npos) == !in_time);
  }
}

std::int64_t resident_kb() {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("VmRSS:")) return std::stoll(line.substr(6));
  return 0;
}

TEST_CASE("200 streams at once over a model: all whole, equal to their seeds' tokens, in bounded memory") {
  TinyModel m(DType::kF32, 1, 1);
  LocalEngineOptions options;
  options.kv_cache_bytes = 16 << 20;
  LocalEngine engine(m.transformer, tiny_tokenizer(), options);
  const Service service(engine);
  const auto body = [](int i) {
    return Json{{"prompt", "abc"}, {"max_tokens", 8}, {"seed", i % 4}, {"ignore_eos", true}, {"return_token_ids", true}};
  };
  std::vector<Json> alone;
  for (int i = 0; i < 4; ++i) alone.push_back(service.ask("/v1/completions", body(i))["choices"][0]["token_ids"]);
  const std::int64_t before = resident_kb();
  std::atomic<int> right{0};
  std::mutex errors_mutex;
  std::string errors;
  std::vector<std::thread> clients;
  for (int i = 0; i < 200; ++i)
    clients.emplace_back([&, i] {
      try {
        Json tokens = Json::array();
        for (const Json& event : service.stream("/v1/completions", body(i)))
          for (const Json& t : event["choices"][0].value("token_ids", Json::array())) tokens.push_back(t);
        if (tokens == alone[static_cast<std::size_t>(i % 4)]) ++right;
      } catch (const std::exception& e) {
        const std::lock_guard lock(errors_mutex);
        errors += std::string(e.what()) + "\n";
      }
    });
  for (std::thread& t : clients) t.join();
  CHECK(errors == "");
  CHECK(right == 200);
  const std::int64_t grown = resident_kb() - before;
  MESSAGE("200 streams added ", grown, " KiB");
  CHECK(grown < 128 * 1024);  // server and clients together: threads of both
  CHECK(service.loop.counts().finished == 204);
  CHECK(within(5s, [&] { return service.loop.counts().active == 0; }));
}

}  // namespace
}  // namespace r1
