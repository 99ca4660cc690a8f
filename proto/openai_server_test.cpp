// What the HTTP service answers: the engine's own tokens and numbers, streamed or whole, and every wrong request refused.
#include <doctest/doctest.h>

#include "core/digest.h"
#include "proto/openai_test_support.h"

namespace r1 {
namespace {

using namespace test;

// A request as the service makes it of {prompt: ids, n, max_tokens, seed}.
RolloutRequest direct(std::vector<TokenId> prompt, int n, int max_tokens, std::uint64_t seed, std::uint64_t number = 0) {
  RolloutRequest r;
  r.prompt.tokens = std::move(prompt);
  r.samples = n;
  r.sampling.max_new_tokens = max_tokens;
  r.key = {seed, 0, number, 0};
  return r;
}

TEST_CASE("completions have the tokens, log-probabilities and weights of the engine in this process, whole and streamed") {
  TinyModel m(DType::kF32, 1, 1);
  const std::vector<std::vector<TokenId>> prompts = {random_tokens(1, 9), random_tokens(2, 4)};
  const auto expected = run(m.transformer, {}, {direct(prompts[0], 3, 20, 42), direct(prompts[1], 3, 20, 42, 1)});
  LocalEngine engine(m.transformer, tiny_tokenizer());
  const Service service(engine);
  const Json body = {{"model", "tiny"}, {"prompt", prompts}, {"n", 3}, {"max_tokens", 20}, {"seed", 42}, {"logprobs", 0}, {"return_token_ids", true}};

  const Json whole = service.ask("/v1/completions", body);
  REQUIRE(whole["choices"].size() == 6);
  std::size_t total = 0;
  for (std::size_t i = 0; i < 6; ++i) {
    const Completion& c = expected[i / 3][i % 3];
    const Json& choice = whole["choices"][i];
    total += c.tokens.size();
    CHECK(choice["index"] == i);
    CHECK(choice["token_ids"].get<std::vector<TokenId>>() == c.tokens);
    CHECK(choice["prompt_token_ids"].get<std::vector<TokenId>>() == prompts[i / 3]);
    CHECK(choice["logprobs"]["token_logprobs"].get<std::vector<float>>() == c.logprobs);  // bit for bit
    CHECK(choice["finish_reason"] == (c.stop == StopReason::kLength ? "length" : "stop"));
    CHECK(choice["weights"][0]["digest"] == to_hex(c.version_runs.at(0).digest));
  }
  CHECK(whole["usage"]["prompt_tokens"] == 13);
  CHECK(whole["usage"]["completion_tokens"] == total);
  CHECK(whole["object"] == "text_completion");

  std::vector<std::vector<TokenId>> tokens(6);
  std::vector<std::vector<float>> logprobs(6);
  std::vector<std::string> texts(6), reasons(6);
  for (const Json& event : service.stream("/v1/completions", body)) {
    const Json& choice = event["choices"][0];
    const auto i = choice["index"].get<std::size_t>();
    texts[i] += choice["text"];
    for (const Json& t : choice.value("token_ids", Json::array())) tokens[i].push_back(t);
    if (!choice["logprobs"].is_null())
      for (const Json& l : choice["logprobs"]["token_logprobs"]) logprobs[i].push_back(l);
    if (!choice["finish_reason"].is_null()) reasons[i] = choice["finish_reason"];
  }
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK(tokens[i] == expected[i / 3][i % 3].tokens);
    CHECK(logprobs[i] == expected[i / 3][i % 3].logprobs);
    CHECK(texts[i] == whole["choices"][i]["text"]);
    CHECK(reasons[i] == whole["choices"][i]["finish_reason"]);
  }
}

TEST_CASE("chat renders the template; deltas join to the message; seeds repeat it, no seed does not") {
  TinyModel m(DType::kF32, 1, 1);
  LocalEngine engine(m.transformer, tiny_tokenizer());
  const Service service(engine);
  const Json messages = {{{"role", "user"}, {"content", {{{"type", "text"}, {"text", "h"}}, {{"type", "text"}, {"text", "i"}}}}}};
  Json body = {{"messages", messages}, {"seed", -7}, {"max_completion_tokens", 24}, {"logprobs", true}, {"return_token_ids", true}};
  body["stream_options"] = nullptr;  // as if it were absent
  const Json whole = service.ask("/v1/chat/completions", body);
  const Json& choice = whole["choices"][0];
  CHECK(choice["prompt_token_ids"].get<std::vector<TokenId>>() == tiny_tokenizer()->encode("user:hi;assistant:"));
  CHECK(choice["message"]["role"] == "assistant");
  CHECK(choice["logprobs"]["content"].size() == choice["token_ids"].size());
  CHECK(whole["object"] == "chat.completion");
  CHECK(service.ask("/v1/chat/completions", body)["choices"][0]["token_ids"] == choice["token_ids"]);

  Json streamed = body;
  streamed["stream_options"] = {{"include_usage", true}};
  const std::vector<Json> events = service.stream("/v1/chat/completions", streamed);
  CHECK(events.front()["choices"][0]["delta"]["role"] == "assistant");
  CHECK(events.back()["choices"].empty());
  CHECK(events.back()["usage"] == whole["usage"]);
  std::string text;
  for (std::size_t i = 0; i + 1 < events.size(); ++i) text += events[i]["choices"][0]["delta"].value("content", "");
  CHECK(text == choice["message"]["content"]);

  body.erase("seed");
  const Json fresh = service.ask("/v1/chat/completions", body);
  CHECK(service.ask("/v1/chat/completions", body)["choices"][0]["token_ids"] != fresh["choices"][0]["token_ids"]);

  // The reply goes on with an assistant turn that was begun.
  const Json begun = {{{"role", "user"}, {"content", "hi"}}, {{"role", "assistant"}, {"content", "so"}}};
  const Json going_on = {{"messages", begun}, {"continue_final_message", true}, {"max_tokens", 1}, {"return_token_ids", true}};
  const Json more = service.ask("/v1/chat/completions", going_on);
  CHECK(more["choices"][0]["prompt_token_ids"].get<std::vector<TokenId>>() == tiny_tokenizer()->encode("user:hi;assistant:so"));
}

TEST_CASE("a stop string ends a completion and is cut from it") {
  TinyModel m(DType::kF32, 1, 1);
  LocalEngine engine(m.transformer, tiny_tokenizer());
  const Service service(engine);
  Json body = {{"prompt", "abc"}, {"temperature", 0}, {"max_tokens", 30}, {"ignore_eos", true}};
  const std::string free = service.ask("/v1/completions", body)["choices"][0]["text"];
  REQUIRE(free.size() > 12);
  std::size_t at = 5;
  while (at < free.size() && (static_cast<unsigned char>(free[at]) >= 0x80 || static_cast<unsigned char>(free[at + 1]) >= 0x80)) ++at;
  const std::string stop = free.substr(at, 2);
  body["stop"] = stop;
  const Json cut = service.ask("/v1/completions", body)["choices"][0];
  CHECK(cut["text"] == free.substr(0, free.find(stop)));
  CHECK(cut["finish_reason"] == "stop");
}

TEST_CASE("models, tokens, health and metrics") {
  TinyModel m(DType::kF32, 1, 1);
  LocalEngine engine(m.transformer, tiny_tokenizer());
  const Service service(engine);
  const auto get = [&](const char* path) { return service.client().Get(path); };
  CHECK(Json::parse(get("/v1/models")->body)["data"][0]["id"] == "tiny");
  CHECK(get("/health")->status == 200);
  const Json tokens = service.ask("/tokenize", {{"prompt", "hello <end>"}});
  CHECK(tokens["tokens"].get<std::vector<TokenId>>() == tiny_tokenizer()->encode("hello <end>", true));
  CHECK(tokens["count"] == tokens["tokens"].size());
  CHECK(service.ask("/detokenize", {{"tokens", tokens["tokens"]}})["prompt"] == "hello <end>");
  CHECK(service.ask("/tokenize", {{"messages", {{{"role", "user"}, {"content", "x"}}}}})["tokens"].get<std::vector<TokenId>>() ==
        tiny_tokenizer()->encode("user:x;assistant:"));
  service.ask("/v1/completions", {{"prompt", "abc"}, {"max_tokens", 5}, {"ignore_eos", true}});
  const std::string metrics = get("/metrics")->body;
  CHECK(metrics.find("\nr1_generated_tokens_total 5\n") != std::string::npos);
  CHECK(metrics.find("\nr1_calls_total{outcome=\"finished\"} 1\n") != std::string::npos);
  CHECK(metrics.find("\nr1_first_token_seconds_bucket{le=\"+Inf\"} 1\n") != std::string::npos);
}

TEST_CASE("wrong requests are refused in OpenAI's format, naming the field") {
  TinyModel m(DType::kF32, 1, 1);
  LocalEngine engine(m.transformer, tiny_tokenizer());
  const Service service(engine);
  struct Case { const char* path; std::string body; int status; const char* param; const char* says; };
  const std::string chat = R"({"messages":[{"role":"user","content":"x"}],)";
  const std::vector<Case> cases = {
      {"/v1/completions", "", 400, "", "JSON object"},
      {"/v1/completions", "[1]", 400, "", "JSON object"},
      {"/v1/completions", R"({"prompt":"a)", 400, "", "JSON object"},
      {"/v1/completions", "{\"prompt\":\"\xff\"}", 400, "", "JSON object"},
      {"/v1/completions", R"({"prompt":)" + std::string(100'000, '['), 400, "", "nested deeper than 32"},
      {"/v1/completions", R"({})", 400, "prompt", "missing"},
      {"/v1/completions", R"({"prompt":""})", 400, "prompt", "no tokens"},
      {"/v1/completions", R"({"prompt":[5,512]})", 400, "prompt", "0 to 511"},
      {"/v1/completions", R"({"prompt":[-1]})", 400, "prompt", "0 to 511"},
      {"/v1/completions", R"({"prompt":[1.5]})", 400, "prompt", "0 to 511"},
      {"/v1/completions", R"({"prompt":"a","temprature":1})", 400, "temprature", "unknown field"},
      {"/v1/completions", R"({"prompt":"a","temperature":-1})", 400, "temperature", "from 0 to 100"},
      {"/v1/completions", R"({"prompt":"a","temperature":"hot"})", 400, "temperature", "must be a number"},
      {"/v1/completions", R"({"prompt":"a","top_p":0})", 400, "top_p", "must be above"},
      {"/v1/completions", R"({"prompt":"a","max_tokens":0})", 400, "max_tokens", "from 1"},
      {"/v1/completions", R"({"prompt":"a","max_tokens":256})", 400, "max_tokens", "context of 256"},
      {"/v1/completions", R"({"prompt":"a","n":129})", 400, "n", "from 1 to 128"},
      {"/v1/completions", R"({"prompt":["a","b"],"n":65})", 400, "n", "more than the 128"},
      {"/v1/completions", R"({"prompt":"a","seed":18446744073709551615})", 400, "seed", "must be an integer"},
      {"/v1/completions", R"({"prompt":"a","stop":[""]})", 400, "stop", "not empty"},
      {"/v1/completions", R"({"prompt":"a","logprobs":5})", 400, "logprobs", "must be 0"},
      {"/v1/completions", R"({"prompt":"a","echo":true})", 400, "echo", "not returned"},
      {"/v1/completions", R"({"prompt":"a","frequency_penalty":0.5})", 400, "frequency_penalty", "not implemented"},
      {"/v1/completions", R"({"prompt":"a","model":"gpt"})", 404, "model", "not served"},
      {"/v1/completions", R"({"prompt":"a","stream_options":{}})", 400, "stream_options", "needs stream"},
      {"/v1/chat/completions", R"({"messages":[]})", 400, "messages", "at least one"},
      {"/v1/chat/completions", R"({"messages":["x"]})", 400, "messages", "role"},
      {"/v1/chat/completions", R"({"messages":[{"role":"user","content":[{"type":"image_url"}]}]})", 400, "messages", "text only"},
      {"/v1/chat/completions", chat + R"("tools":[{"type":"function"}]})", 400, "tools", "not implemented"},
      {"/v1/chat/completions", chat + R"("top_logprobs":3})", 400, "top_logprobs", "not implemented"},
      {"/v1/chat/completions", chat + R"("response_format":{"type":"json_object"}})", 400, "response_format", "not implemented"},
      {"/v1/nothing", "{}", 404, "", "/v1/nothing"},
      {"/tokenize", R"({"prompt":3})", 400, "prompt", "string"},
      {"/detokenize", R"({"tokens":[99999]})", 400, "tokens", "0 to 511"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.path);
    CAPTURE(c.body.substr(0, 100));
    const httplib::Result r = service.client().Post(c.path, c.body, "application/json");
    REQUIRE(r);
    CHECK(r->status == c.status);
    const Json error = Json::parse(r->body)["error"];
    CAPTURE(error.dump());
    CHECK(error["message"].get<std::string>().find(c.says) != std::string::npos);
    CHECK(error["param"] == (*c.param ? Json(c.param) : Json()));
    CHECK(error["type"] == "invalid_request_error");
  }
  CHECK(service.client().Get("/v1/completions")->status == 404);
  CHECK(service.loop.counts().accepted == 0);  // nothing of it reached the engine
}

}  // namespace
}  // namespace r1
