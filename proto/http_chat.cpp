#include "proto/http_chat.h"

#include <nlohmann/json.hpp>

#include "core/error.h"

namespace r1 {
namespace {

using Json = nlohmann::json;
using Status = ChatReply::Status;

class HttpChat {
 public:
  explicit HttpChat(HttpChatOptions options) : options_(std::move(options)), http_(options_, "/chat/completions") {
    if (options_.extra_json.empty()) return;
    extra_ = Json::parse(options_.extra_json, nullptr, false);
    if (!extra_.is_object()) throw ConfigError("extra must be a section of names and values");
  }

  ChatReply ask(const ChatRequest& request) {
    HttpReply reply = http_.post(write(request));
    if (reply.status == HttpReply::Status::kBody) return read(reply.text);
    return {reply.status == HttpReply::Status::kTimeout ? Status::kTimeout : Status::kFailed, std::move(reply.text), std::move(reply.cause)};
  }

 private:
  std::string write(const ChatRequest& request) const {
    Json body = {{"model", options_.model}, {"messages", Json::array()}, {"temperature", request.temperature},
                 {"max_tokens", request.max_tokens}, {"seed", request.seed}, {"stream", false}};
    for (const Message& m : request.messages) body["messages"].push_back({{"role", m.role}, {"content", m.content}});
    if (request.top_p < 1) body["top_p"] = request.top_p;
    if (!request.stop.empty()) body["stop"] = request.stop;
    if (!extra_.is_null()) body.merge_patch(extra_);
    return body.dump(-1, ' ', false, Json::error_handler_t::replace);
  }

  ChatReply read(const std::string& text) const {
    const Json json = Json::parse(text, nullptr, false);
    const auto malformed = [&](const char* what) {
      return ChatReply{Status::kFailed, message(options_.url, ": ", what, ": ", text.substr(0, 200)), "malformed reply"};
    };
    if (!json.is_object()) return malformed("the reply is no JSON object");
    const Json choices = json.value("choices", Json());
    if (!choices.is_array() || choices.empty() || !choices[0].is_object()) return malformed("the reply has no choices");
    const Json answer = choices[0].value("message", Json());
    if (!answer.is_object()) return malformed("the reply has no message text");
    ChatReply reply{Status::kText, {}, {}};
    const auto text_of = [](const Json& object, const char* key) {
      const auto it = object.find(key);
      return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
    };
    reply.reasoning = text_of(answer, "reasoning_content");
    if (reply.reasoning.empty()) reply.reasoning = text_of(answer, "reasoning");
    // A reply that ended inside its reasoning may have no text at all.
    if (reply.reasoning.empty() && (!answer.contains("content") || !answer["content"].is_string())) return malformed("the reply has no message text");
    reply.text = text_of(answer, "content");
    reply.finish = text_of(choices[0], "finish_reason");
    if (const auto usage = json.find("usage"); usage != json.end() && usage->is_object())
      if (const auto n = usage->find("completion_tokens"); n != usage->end() && n->is_number_integer()) reply.tokens = n->get<std::int64_t>();
    return reply;
  }

  HttpChatOptions options_;
  HttpJson http_;
  Json extra_;
};

}  // namespace

ChatClient make_http_chat(HttpChatOptions options) {
  const std::string identity = message(options.url, " ", options.model, " ", options.extra_json);
  auto chat = std::make_shared<HttpChat>(std::move(options));
  return {[chat](const ChatRequest& request) { return chat->ask(request); }, identity};
}

}  // namespace r1
