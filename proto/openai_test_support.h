// For tests: an OpenAI server over a tiny model or over an engine that goes on until it is told to stop, and ways to ask it.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <httplib.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "proto/openai_server.h"
#include "proto/steady_engine.h"
#include "rollout/engine_test_support.h"

namespace r1::test {

using Json = nlohmann::json;

constexpr const char* kTemplate =
    "{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}";

inline ServedModel served_model(std::int64_t context = 256) {
  ServedModel m;
  m.name = "tiny";
  m.tokenizer = tiny_tokenizer();
  m.chat = std::make_shared<const ChatTemplate>(kTemplate);
  m.context = context;
  m.max_new_tokens = static_cast<int>(context);
  return m;
}

inline OpenAiServerOptions any_port() {
  OpenAiServerOptions o;
  o.listen = "127.0.0.1:0";
  return o;
}

// An engine, its loop and a server of it.
struct Service {
  explicit Service(RolloutEngine& engine, OpenAiServerOptions options = any_port(), ServedModel model = served_model(), int max_calls = 256)
      : loop(engine, max_calls), server(std::move(options), loop, std::move(model)) {}
  EngineLoop loop;
  OpenAiServer server;

  httplib::Client client() const {
    httplib::Client c("127.0.0.1", server.port());
    c.set_read_timeout(60);
    return c;
  }
  Json ask(const std::string& path, const Json& body, int status = 200) const {
    const httplib::Result r = client().Post(path, body.dump(), "application/json");
    if (!r) throw Error(message(path, ": ", httplib::to_string(r.error())));
    if (r->status != status) throw Error(message(path, ": HTTP ", r->status, ": ", r->body));
    return Json::parse(r->body);
  }
  // The events of a stream; the last, [DONE], is taken off and must be there.
  std::vector<Json> stream(const std::string& path, Json body) const {
    body["stream"] = true;
    const httplib::Result r = client().Post(path, body.dump(), "application/json");
    if (!r || r->status != 200) throw Error(message(path, ": ", r ? r->body : httplib::to_string(r.error())));
    std::vector<Json> events;
    bool done = false;
    for (std::size_t at = 0; at < r->body.size();) {
      const std::size_t end = r->body.find("\n\n", at);
      const std::string data = r->body.substr(at, end - at).substr(6);
      done = data == "[DONE]";
      if (!done) events.push_back(Json::parse(data));
      at = end + 2;
    }
    if (!done) throw Error("the stream has no [DONE]");
    return events;
  }
};

}  // namespace r1::test
