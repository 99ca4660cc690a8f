// The judge's HTTP client against a server of this test on 127.0.0.1.
#include "proto/http_chat.h"

#include <atomic>
#include <chrono>
#include <thread>

#include <nlohmann/json.hpp>

#include "proto/fake_server.h"
#include "proto/http_url.h"
#include "proto/loopback.h"
#include "rewards/factory.h"
#include "rewards/users/user_test_support.h"

namespace r1 {
namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;
using Status = ChatReply::Status;
using test::FakeServer;
using test::contains;
using test::error_of;

void say(httplib::Response& response, const std::string& content) {
  response.set_content(Json{{"choices", {{{"message", {{"role", "assistant"}, {"content", content}}}}}}}.dump(), "application/json");
}
HttpChatOptions options_for(const FakeServer& server) {
  HttpChatOptions o;
  o.url = server.url();
  o.model = "fake";
  o.timeout_s = 10;
  o.retry_wait_s = 0.01;
  return o;
}
ChatRequest question(const std::string& text = "hello") {
  ChatRequest r;
  r.messages = {{"system", "be fair"}, {"user", text}};
  r.seed = 3;
  return r;
}

TEST_CASE("a question goes out as OpenAI's and its text comes back") {
  Json seen;
  std::string path, key;
  FakeServer server([&](const Json& body, const httplib::Request& request, httplib::Response& response) {
    seen = body;
    path = request.path;
    key = request.get_header_value("Authorization");
    say(response, "fine \xc3\xa4");
  });
  HttpChatOptions o = options_for(server);
  o.api_key = "secret";
  o.extra_json = R"({"top_k": 1, "seed": null})";
  const ChatReply reply = make_http_chat(o).ask(question("bytes \xff"));
  CHECK(reply.status == Status::kText);
  CHECK(reply.text == "fine \xc3\xa4");
  CHECK(path == "/v1/chat/completions");
  CHECK(key == "Bearer secret");
  CHECK(seen["model"] == "fake");
  CHECK(seen["temperature"] == 0.0);
  CHECK(seen["max_tokens"] == 1024);
  CHECK(seen["top_k"] == 1);
  CHECK_FALSE(seen.contains("seed"));
  CHECK(seen["messages"][1]["content"] == "bytes \xef\xbf\xbd");
}

TEST_CASE("what is retried, what is not") {
  std::atomic<int> status = 429;
  std::atomic<int> failures = 2;
  FakeServer server([&](const Json&, const httplib::Request&, httplib::Response& response) {
    if (failures-- > 0) {
      response.status = status;
      response.set_content("busy", "text/plain");
    } else {
      say(response, "ok");
    }
  });
  for (const int code : {429, 500, 502, 503, 408}) {
    status = code;
    failures = 2;
    server.calls = 0;
    CHECK(make_http_chat(options_for(server)).ask(question()).text == "ok");
    CHECK(server.calls == 3);
  }
  for (const int code : {400, 401, 404, 301}) {
    status = code;
    failures = 100;
    server.calls = 0;
    const ChatReply reply = make_http_chat(options_for(server)).ask(question());
    CHECK(reply.status == Status::kFailed);
    CHECK(reply.cause == message("HTTP ", code));
    CHECK(contains(reply.text, "busy"));
    CHECK(server.calls == 1);
  }
  status = 503;
  failures = 100;
  server.calls = 0;
  HttpChatOptions few = options_for(server);
  few.retries = 2;
  const ChatReply reply = make_http_chat(few).ask(question());
  CHECK(reply.cause == "HTTP 503");
  CHECK(contains(reply.text, "after 2 retries"));
  CHECK(server.calls == 3);
}

TEST_CASE("Retry-After is kept to, unless the time would be up") {
  std::atomic<int> failures = 1;
  std::string after = "1";
  FakeServer server([&](const Json&, const httplib::Request&, httplib::Response& response) {
    if (failures-- > 0) {
      response.status = 429;
      response.set_header("Retry-After", after);
    } else {
      say(response, "ok");
    }
  });
  auto start = Clock::now();
  CHECK(make_http_chat(options_for(server)).ask(question()).text == "ok");
  CHECK(Clock::now() - start >= std::chrono::milliseconds(990));
  failures = 1;
  after = "3600";
  start = Clock::now();
  const ChatReply reply = make_http_chat(options_for(server)).ask(question());
  CHECK(reply.status == Status::kTimeout);
  CHECK(reply.cause == "HTTP 429");
  CHECK(Clock::now() - start < std::chrono::seconds(5));
}

TEST_CASE("slow servers end at the deadline: silent ones, and ones that send a byte now and then") {
  FakeServer silent([](const Json&, const httplib::Request&, httplib::Response& response) {
    std::this_thread::sleep_for(std::chrono::seconds(2));
    say(response, "late");
  });
  FakeServer drips([](const Json&, const httplib::Request&, httplib::Response& response) {
    response.set_chunked_content_provider("application/json", [](std::size_t, httplib::DataSink& sink) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      return sink.write(" ", 1);
    });
  });
  for (const FakeServer* server : {&silent, &drips}) {
    HttpChatOptions o = options_for(*server);
    o.timeout_s = 0.4;
    const auto start = Clock::now();
    const ChatReply reply = make_http_chat(o).ask(question());
    CHECK(reply.status == Status::kTimeout);
    CHECK(reply.cause == "timeout");
    CHECK(Clock::now() - start < std::chrono::milliseconds(1800));
  }
}

TEST_CASE("what a reply says beside its text, and sampling settings of a question") {
  Json seen, reply_json;
  FakeServer server([&](const Json& body, const httplib::Request&, httplib::Response& response) {
    seen = body;
    response.set_content(reply_json.dump(), "application/json");
  });
  const ChatClient client = make_http_chat(options_for(server));
  reply_json = Json::parse(R"({"choices": [{"message": {"content": "4", "reasoning_content": "2 and 2"}, "finish_reason": "stop"}], "usage": {"completion_tokens": 7}})");
  ChatRequest request = question();
  ChatReply reply = client.ask(request);
  CHECK(reply.text == "4");
  CHECK(reply.reasoning == "2 and 2");
  CHECK(reply.finish == "stop");
  CHECK(reply.tokens == 7);
  CHECK(!seen.contains("top_p"));
  CHECK(!seen.contains("stop"));
  // Cut off inside its reasoning.
  reply_json = Json::parse(R"({"choices": [{"message": {"content": null, "reasoning": "2 and"}, "finish_reason": "length"}]})");
  request.top_p = 0.95;
  request.stop = {"</answer>"};
  reply = client.ask(request);
  CHECK(reply.status == Status::kText);
  CHECK(reply.text.empty());
  CHECK(reply.reasoning == "2 and");
  CHECK(reply.finish == "length");
  CHECK(reply.tokens == -1);
  CHECK(seen["top_p"] == 0.95);
  CHECK(seen["stop"] == Json({"</answer>"}));
}

TEST_CASE("malformed replies, no server") {
  std::string body;
  FakeServer server([&](const Json&, const httplib::Request&, httplib::Response& response) { response.set_content(body, "text/html"); });
  const ChatClient client = make_http_chat(options_for(server));
  for (const char* bad : {"", "<html>login</html>", "{}", "[1]", R"({"choices": []})", R"({"choices": [{}]})", R"({"choices": [{"message": {"content": null}}]})"}) {
    body = bad;
    const ChatReply reply = client.ask(question());
    CHECK(reply.status == Status::kFailed);
    CHECK(reply.cause == "malformed reply");
  }
  HttpChatOptions nobody = options_for(server);
  nobody.url = "http://127.0.0.1:1/v1";
  nobody.retries = 1;
  const ChatReply reply = make_http_chat(nobody).ask(question());
  CHECK(reply.cause == "no connection");
  CHECK(contains(reply.text, "after 1 retry"));
}

TEST_CASE("the judge over HTTP from a recipe: verdicts, contradicting votes, a server that fails") {
  std::atomic<int> mode = 0;
  FakeServer server([&](const Json& body, const httplib::Request&, httplib::Response& response) {
    const std::string text = body["messages"][1]["content"];
    if (text.find("2 + 2") != std::string::npos) return say(response, text.find("answer is 4") != std::string::npos ? "CORRECT" : "INCORRECT");
    if (mode == 1) {
      response.status = 500;
      return;
    }
    if (mode == 2) return say(response, body["seed"] == 1 ? "INCORRECT" : body["seed"] == 2 ? "UNCLEAR" : "CORRECT");
    say(response, text.find("\n2\n[END") != std::string::npos ? "CORRECT" : "INCORRECT");
  });
  const auto rubric = [&](const std::string& more) {
    const Config config = Config::parse("rewards: [{name: judge, model: fake, retries: 1, retry_wait: 0.01, url: '" + server.url() + "'" + more + "}]", "r.yaml");
    ConfigReader root(config);
    RewardContext context;
    context.chat_client = [](ConfigReader& o) { return make_http_chat(o); };
    Rubric made = make_rubric(root.sections("rewards", "name"), context);
    root.finish();
    return made;
  };
  const auto group = test::group_of({"<think>hm</think><answer>2</answer>", "<answer>3</answer>"});
  auto scores = rubric("").score(group);
  CHECK(scores[0].verdict == Verdict::kCorrect);
  CHECK(scores[0].value == 1.f);
  CHECK(scores[1].verdict == Verdict::kWrong);
  mode = 1;
  scores = rubric("").score(group);
  CHECK(scores[0].verdict == Verdict::kError);
  CHECK(scores[0].parts.empty());
  CHECK(contains(scores[0].detail, "HTTP 500"));
  mode = 2;
  scores = rubric(", votes: 3, temperature: 0.7").score(group);
  CHECK(scores[0].parts.empty());
  CHECK(contains(scores[0].detail, "no majority: 1 yes, 1 no of 3"));
  const auto fails = [&](const std::string& more) { return error_of([&] { rubric(more); }); };
  CHECK(contains(fails(", api_key_env: R1_NO_SUCH_VARIABLE"), "R1_NO_SUCH_VARIABLE is not set"));
  CHECK(contains(fails(", ca_file: x"), "https only"));
  setenv("R1_TEST_KEY", "k", 1);
  CHECK(contains(error_of([&] {
          const Config config = Config::parse("rewards: [{name: judge, model: m, url: 'http://example.org/v1', api_key_env: R1_TEST_KEY}]", "r.yaml");
          ConfigReader root(config);
          RewardContext context;
          context.chat_client = [](ConfigReader& o) { return make_http_chat(o); };
          make_rubric(root.sections("rewards", "name"), context);
        }), "in clear text"));
}

TEST_CASE("URLs") {
  const auto u = parse_http_url("https://[::1]:8443/v1/");
  REQUIRE(u);
  CHECK(u->tls);
  CHECK(u->host == "::1");
  CHECK(u->port == 8443);
  CHECK(u->path == "/v1");
  CHECK(parse_http_url("http://h")->port == 80);
  for (const char* bad : {"h:1", "ftp://h", "http://", "http://h:x", "http://h:70000", "http://u@h", "http://h/a?b=1"})
    CHECK_MESSAGE(!parse_http_url(bad), bad);
  CHECK(is_loopback("127.0.0.1"));
  CHECK_FALSE(is_loopback("127.0.0.1.example.org"));
  CHECK_FALSE(is_loopback("10.0.0.1"));
}

}  // namespace
}  // namespace r1
