#include "proto/http_text.h"

#include <memory>

#include <nlohmann/json.hpp>

#include "core/error.h"

namespace r1 {
namespace {

using Json = nlohmann::json;
using Status = TextReply::Status;

class HttpText {
 public:
  explicit HttpText(HttpTextOptions options) : options_(std::move(options)), http_(options_, options_.chat ? "/chat/completions" : "/completions") {
    if (!options_.chat && !options_.opening.empty())
      throw ConfigError("an opening of the reply needs messages; put it at the end of the prompt's text instead");
    if (options_.extra_json.empty()) return;
    extra_ = Json::parse(options_.extra_json, nullptr, false);
    if (!extra_.is_object()) throw ConfigError(message("extra must be a JSON object, it is ", options_.extra_json.substr(0, 60)));
  }

  TextReply ask(const TextRequest& request) {
    const HttpReply reply = http_.post(write(request));
    if (reply.status == HttpReply::Status::kBody) return read(reply.text);
    const bool refused = reply.code >= 400 && reply.code < 500 && reply.code != 408 && reply.code != 429;
    return {refused ? Status::kRefused : Status::kFailed, reply.text, StopReason::kAborted, -1};
  }

 private:
  std::string write(const TextRequest& r) const {
    const SamplingOptions& o = r.sampling;
    Json body = {{"model", options_.model}, {"temperature", o.temperature}, {"top_p", o.top_p}, {"max_tokens", o.max_new_tokens}, {"seed", r.seed},
                 {"stream", false}};
    if (o.top_k > 0) body["top_k"] = o.top_k;
    if (o.min_p > 0) body["min_p"] = o.min_p;
    if (!o.stop_strings.empty()) body["stop"] = o.stop_strings;
    if (!options_.chat) {
      body["prompt"] = r.prompt->text;
    } else {
      body["messages"] = Json::array();
      for (const Message& m : r.prompt->messages) body["messages"].push_back({{"role", m.role}, {"content", m.content}});
      if (!options_.opening.empty()) {
        body["messages"].push_back({{"role", "assistant"}, {"content", options_.opening}});
        body["add_generation_prompt"] = false;
        body["continue_final_message"] = true;
      }
    }
    if (!extra_.is_null()) body.merge_patch(extra_);
    return body.dump(-1, ' ', false, Json::error_handler_t::replace);
  }

  static std::string text_at(const Json& object, const char* key) {
    const auto it = object.find(key);
    return it != object.end() && it->is_string() ? it->get<std::string>() : "";
  }

  TextReply read(const std::string& text) const {
    const auto malformed = [&](const char* what) {
      return TextReply{Status::kFailed, message(options_.url, ": ", what, ": ", text.substr(0, 200)), StopReason::kAborted, -1};
    };
    const Json json = Json::parse(text, nullptr, false);
    if (!json.is_object()) return malformed("the reply is no JSON object");
    const Json choices = json.value("choices", Json());
    if (!choices.is_array() || choices.empty() || !choices[0].is_object()) return malformed("the reply has no choices");
    const Json& choice = choices[0];
    TextReply out{Status::kText, {}, text_at(choice, "finish_reason") == "length" ? StopReason::kLength : StopReason::kEos, -1};
    if (options_.chat) {
      const Json answer = choice.value("message", Json());
      if (!answer.is_object() || !answer.contains("content") || !(answer["content"].is_string() || answer["content"].is_null()))
        return malformed("the reply has no message text");
      std::string reasoning = text_at(answer, "reasoning_content");
      if (reasoning.empty()) reasoning = text_at(answer, "reasoning");
      out.text = text_at(answer, "content");
      // The prompt opened the block already if the reply was forced to begin with it.
      if (!reasoning.empty())
        out.text = (options_.opening.empty() ? "<think>" : "") + reasoning + (answer["content"].is_null() ? "" : "</think>" + out.text);
    } else {
      if (!choice.contains("text") || !choice["text"].is_string()) return malformed("the reply has no text");
      out.text = choice["text"].get<std::string>();
    }
    const Json usage = json.value("usage", Json());
    if (usage.is_object() && usage.contains("completion_tokens") && usage["completion_tokens"].is_number_integer())
      out.tokens = usage["completion_tokens"].get<std::int64_t>();
    return out;
  }

  HttpTextOptions options_;
  HttpJson http_;
  Json extra_;
};

}  // namespace

TextClient make_http_text(HttpTextOptions options) {
  auto text = std::make_shared<HttpText>(std::move(options));
  return [text](const TextRequest& request) { return text->ask(request); };
}

}  // namespace r1
