// Completions over HTTP against a server of this test: what is sent, what is read, and a whole evaluation with retries,
// concurrency, a refusal and a resumed run.
#include "proto/http_text.h"

#include <atomic>
#include <mutex>
#include <set>
#include <thread>

#include "core/files.h"
#include "proto/fake_server.h"
#include "rewards/users/user_test_support.h"
#include "rl/eval/completion_source.h"
#include "rl/eval/run_benchmark.h"
#include "tests/support/support.h"

namespace r1 {
namespace {

using Json = nlohmann::json;
using test::contains;
using test::error_of;
using test::FakeServer;

HttpTextOptions options_for(const FakeServer& server) {
  HttpTextOptions o;
  o.url = server.url();
  o.model = "fake";
  o.timeout_s = 10;
  o.retry_wait_s = 0.01;
  return o;
}

Prompt question(const std::string& text) {
  Prompt p;
  p.id = text;
  p.text = text;
  p.messages = {{"user", text}};
  return p;
}

void say(httplib::Response& response, const Json& message, const char* finish = "stop", int tokens = 7) {
  response.set_content(Json{{"choices", {{{"message", message}, {"finish_reason", finish}}}}, {"usage", {{"completion_tokens", tokens}}}}.dump(),
                       "application/json");
}

TEST_CASE("chat: what is sent and what is read") {
  Json seen;
  std::string path, key;
  Json reply = {{"role", "assistant"}, {"content", "four"}};
  const char* finish = "length";
  FakeServer server([&](const Json& body, const httplib::Request& request, httplib::Response& response) {
    seen = body, path = request.path, key = request.get_header_value("Authorization");
    say(response, reply, finish);
  });
  HttpTextOptions o = options_for(server);
  o.api_key = "secret";
  o.opening = "<think>\n";
  o.extra_json = R"({"seed": null, "top_k": 3})";
  const Prompt p = question("2 + 2?");
  TextRequest r{&p, {}, 5};
  r.sampling.temperature = 0.6f;
  r.sampling.top_p = 0.95f;
  r.sampling.max_new_tokens = 11;
  r.sampling.stop_strings = {"END"};
  TextReply got = make_http_text(o)(r);
  CHECK(got.status == TextReply::Status::kText);
  CHECK(got.text == "four");
  CHECK(got.stop == StopReason::kLength);
  CHECK(got.tokens == 7);
  CHECK(path == "/v1/chat/completions");
  CHECK(key == "Bearer secret");
  CHECK(seen["messages"] == Json::parse(R"([{"role":"user","content":"2 + 2?"},{"role":"assistant","content":"<think>\n"}])"));
  CHECK(seen["continue_final_message"] == true);
  CHECK(seen["add_generation_prompt"] == false);
  CHECK(seen["temperature"].get<double>() == doctest::Approx(0.6));
  CHECK(seen["top_p"].get<double>() == doctest::Approx(0.95));
  CHECK(seen["max_tokens"] == 11);
  CHECK(seen["stop"] == Json({"END"}));
  CHECK(seen["top_k"] == 3);
  CHECK_FALSE(seen.contains("seed"));

  // Reasoning that the server keeps apart stands before the answer; a reply cut inside it has no answer.
  finish = "stop";
  o.opening = "";
  reply = {{"content", "4"}, {"reasoning_content", "two and two"}};
  CHECK(make_http_text(o)(r).text == "<think>two and two</think>4");
  reply = {{"content", nullptr}, {"reasoning", "two and"}};
  CHECK(make_http_text(o)(r).text == "<think>two and");
}

TEST_CASE("completions: a text in, a text out; replies that are none; refusals") {
  Json seen;
  std::string path, body = R"({"choices": [{"text": " 4", "finish_reason": "stop"}]})";
  int status = 200;
  FakeServer server([&](const Json& b, const httplib::Request& request, httplib::Response& response) {
    seen = b, path = request.path;
    response.status = status;
    response.set_content(body, "application/json");
  });
  HttpTextOptions o = options_for(server);
  o.chat = false;
  o.retries = 1;
  const Prompt p = question("2 + 2 =");
  const TextRequest r{&p, {}, 0};
  TextReply got = make_http_text(o)(r);
  CHECK(got.text == " 4");
  CHECK(got.stop == StopReason::kEos);
  CHECK(got.tokens == -1);
  CHECK(path == "/v1/completions");
  CHECK(seen["prompt"] == "2 + 2 =");
  CHECK_FALSE(seen.contains("messages"));
  for (const char* bad : {"", "[]", R"({"choices": []})", R"({"choices": [{"text": null}]})"}) {
    body = bad;
    CHECK(make_http_text(o)(r).status == TextReply::Status::kFailed);
  }
  for (const auto& [code, expected] : {std::pair{401, TextReply::Status::kRefused},
                                       {404, TextReply::Status::kRefused},
                                       {429, TextReply::Status::kFailed},
                                       {500, TextReply::Status::kFailed}}) {
    status = code;
    got = make_http_text(o)(r);
    CHECK(got.status == expected);
    CHECK(contains(got.text, message("HTTP ", code)));
  }
  o.opening = "<think>\n";
  CHECK(contains(error_of([&] { make_http_text(o); }), "needs messages"));
  o.opening = "";
  o.extra_json = "[1]";
  CHECK(contains(error_of([&] { make_http_text(o); }), "extra must be a JSON object"));
}

// Says n in a box for "n?", but wrongly for sample seeds that are odd where n is 3.
struct EvalServer {
  std::atomic<int> busy = 0, most_busy = 0, fail_first = 0, refuse_after = -1, served = 0;
  FakeServer server{[this](const Json& body, const httplib::Request&, httplib::Response& response) {
    const int now = ++busy;
    for (int seen = most_busy; now > seen && !most_busy.compare_exchange_weak(seen, now);) {
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    const std::string text = body["messages"][0]["content"];
    const std::string number = text.substr(0, text.find('?'));
    if (fail_first-- > 0) response.status = 503;
    else if (refuse_after >= 0 && served >= refuse_after) response.status = 401;
    else {
      ++served;
      const bool wrong = number == "3" && body["temperature"].get<double>() > 0 && body["seed"].get<std::uint64_t>() % 2 == 1;
      say(response, {{"content", "It is \\boxed{" + (wrong ? "99" : number) + "}."}});
    }
    --busy;
  }};
};

BenchmarkRun run_of(const std::filesystem::path& out) {
  BenchmarkRun run;
  run.benchmark = parse_benchmark("{name: numbers, template: '{question}', strict: {name: math, extract: boxed}, vote: true}", "numbers");
  for (int i = 1; i <= 4; ++i) {
    Prompt p = question(message(i, "?"));
    p.reference = std::to_string(i);
    run.prompts.push_back(p);
  }
  run.greedy = true;
  run.samples = 8;
  run.out = out;
  return run;
}

TEST_CASE("an evaluation over HTTP: busy answers are retried, many are asked at once, the numbers are right") {
  EvalServer s;
  s.fail_first = 3;
  const BenchmarkRun run = run_of({});
  const Grader grader(run.benchmark);
  const auto source = make_text_source(make_http_text(options_for(s.server)), 4);
  const BenchmarkResult result = run_benchmark(run, grader, *source);
  REQUIRE(result.parts.size() == 2);
  CHECK(result.parts[0].greedy);
  CHECK(result.parts[0].strict.pass1 == 1.0);
  CHECK(result.parts[1].completions == 32);
  CHECK(result.parts[1].mean_tokens == 7.0);
  CHECK(s.most_busy > 1);
  CHECK(s.most_busy <= 4);
  int wrong = 0;
  for (std::uint32_t i = 0; i < 8; ++i) wrong += (draw_bits({0, kEvalStep, 2, i}, 0) >> 33) % 2;
  REQUIRE(wrong > 0);
  CHECK(result.parts[1].strict.pass1 == doctest::Approx(1 - wrong / 32.0));
}

TEST_CASE("a refusal ends the run with a clear error; what was answered is kept and not asked again") {
  const test::TempDir whole, cut;
  EvalServer s;
  const BenchmarkRun run = run_of(whole.path());
  const Grader grader(run.benchmark);
  const auto source = make_text_source(make_http_text(options_for(s.server)), 2);
  run_benchmark(run, grader, *source);
  CHECK(s.served == 36);

  s.served = 0;
  s.refuse_after = 10;
  const BenchmarkRun again = run_of(cut.path());
  const std::string error = error_of([&] { run_benchmark(again, grader, *source); });
  CHECK(contains(error, "HTTP 401"));
  CHECK(contains(error, "the rest were not sent"));
  CHECK(s.served == 10);
  s.refuse_after = -1;
  run_benchmark(again, grader, *source);
  CHECK(s.served == 36);
  for (const char* file : {"numbers.samples.jsonl", "numbers.items.jsonl"}) CHECK(read_file(whole / file) == read_file(cut / file));
  run_benchmark(again, grader, *source);
  CHECK(s.served == 36);

  BenchmarkRun other = run_of(cut.path());
  other.seed = 1;
  CHECK(contains(error_of([&] { run_benchmark(other, grader, *source); }), "counting.seed was 0, is 1"));
}

TEST_CASE("many failures stop the asking") {
  EvalServer s;
  s.fail_first = 1000;
  HttpTextOptions o = options_for(s.server);
  o.retries = 0;
  const BenchmarkRun run = run_of({});
  const auto source = make_text_source(make_http_text(o), 1, 3);
  CHECK(contains(error_of([&] { run_benchmark(run, Grader(run.benchmark), *source); }), "3 of 36 requests failed, the rest were not sent"));
  CHECK(s.server.calls == 3);
}

TEST_CASE("keys from the environment") {
  setenv("R1_TEST_KEY", "k", 1);
  CHECK(api_key_from("", "http://example.org").empty());
  CHECK(api_key_from("R1_TEST_KEY", "http://127.0.0.1:1/v1") == "k");
  CHECK(api_key_from("R1_TEST_KEY", "https://example.org/v1") == "k");
  CHECK(contains(error_of([] { api_key_from("R1_TEST_KEY", "http://example.org/v1"); }), "in clear text"));
  CHECK(contains(error_of([] { api_key_from("R1_NO_SUCH_VARIABLE", "https://example.org/v1"); }), "is not set"));
}

}  // namespace
}  // namespace r1
