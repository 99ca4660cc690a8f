// For tests: an OpenAI server over a tiny model or over an engine that goes on until it is told to stop, and ways to ask it.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <httplib.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "proto/openai_server.h"
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

// Token 65 ("A") every millisecond, as many as max_new_tokens, for all requests at once.
class SteadyEngine : public RolloutEngine {
 public:
  RequestId submit(RolloutRequest r) override {
    running_[++last_] = {std::move(r), 0};
    return last_;
  }
  void cancel(RequestId id) override {
    const std::lock_guard lock(mutex_);
    cancelled_.insert(id);
  }
  void wait(const std::function<void(RolloutEvent&&)>& on_event, bool) override {
    while (!running_.empty()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      const auto now = running_;
      for (const auto& [id, one] : now) {
        bool aborted = false;
        {
          const std::lock_guard lock(mutex_);
          aborted = cancelled_.contains(id);
        }
        const int n = one.second;
        RolloutEvent e;
        e.request = id;
        if (aborted || n == one.first.sampling.max_new_tokens) {
          running_.erase(id);
          e.completion.tokens.assign(static_cast<std::size_t>(n), 65);
          e.completion.logprobs.assign(static_cast<std::size_t>(n), -1.f);
          e.completion.stop = aborted ? StopReason::kAborted : StopReason::kLength;
        } else {
          running_[id].second = n + 1;
          e.kind = RolloutEvent::Kind::kTokens;
          e.tokens = {65};
          e.logprobs = {-1.f};
          e.text = "A";
        }
        on_event(std::move(e));
      }
    }
  }
  void load_weights(const WeightSnapshot&) override {}
  WeightVersion weight_version() const override { return 0; }
  EngineStats stats() const override { return {}; }

 private:
  std::map<RequestId, std::pair<RolloutRequest, int>> running_;
  RequestId last_ = 0;
  std::mutex mutex_;
  std::set<RequestId> cancelled_;
};

}  // namespace r1::test
