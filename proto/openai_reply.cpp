#include "proto/openai_reply.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "core/digest.h"
#include "proto/api_error.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;

std::string text_of(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Json or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

const char* finish_reason(StopReason reason) {
  return reason == StopReason::kLength ? "length" : reason == StopReason::kAborted ? "abort" : "stop";
}

std::int64_t characters(const std::string& utf8) {
  return std::count_if(utf8.begin(), utf8.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

// `offset`: characters before the first token; moved on.
Json logprobs_of(const GenerateCall& call, const Tokenizer& tokenizer, const std::vector<TokenId>& tokens, const std::vector<float>& logprobs,
                 std::int64_t& offset) {
  if (!call.logprobs) return {};
  Json list = Json::array(), numbers = Json::array(), offsets = Json::array();
  for (std::size_t t = 0; t < tokens.size(); ++t) {
    const std::string& bytes = tokenizer.token_bytes(tokens[t]);
    if (call.chat) {
      Json raw = Json::array();
      for (const char c : bytes) raw.push_back(static_cast<unsigned char>(c));
      list.push_back({{"token", bytes}, {"logprob", logprobs[t]}, {"bytes", std::move(raw)}, {"top_logprobs", Json::array()}});
    } else {
      list.push_back(bytes);
      numbers.push_back(logprobs[t]);
      offsets.push_back(offset);
      if (!tokenizer.is_special(tokens[t])) offset += characters(bytes);
    }
  }
  if (call.chat) return {{"content", std::move(list)}, {"refusal", nullptr}};
  return {{"tokens", std::move(list)}, {"token_logprobs", std::move(numbers)}, {"top_logprobs", nullptr}, {"text_offset", std::move(offsets)}};
}

Json weights_of(const Completion& c) {
  Json runs = Json::array();
  for (const VersionRun& run : c.version_runs) runs.push_back({{"start", run.start}, {"version", run.version}, {"digest", to_hex(run.digest)}});
  return runs;
}

Json usage_of(const GenerateCall& call, std::int64_t completion_tokens) {
  std::int64_t prompt = 0;
  for (const RolloutRequest& r : call.requests) prompt += static_cast<std::int64_t>(r.prompt.tokens.size());
  return {{"prompt_tokens", prompt}, {"completion_tokens", completion_tokens}, {"total_tokens", prompt + completion_tokens}};
}

Json head(const GenerateCall& call, const ServedModel& model, const std::string& id, std::int64_t created, bool chunk) {
  const char* object = !call.chat ? "text_completion" : chunk ? "chat.completion.chunk" : "chat.completion";
  return {{"id", id}, {"object", object}, {"created", created}, {"model", model.name}};
}

}  // namespace

std::string to_json(const ApiError& e) {
  return text_of({{"error", {{"message", e.what()}, {"type", e.type}, {"param", or_null(e.param)}, {"code", or_null(e.code)}}}});
}

OpenAiReply::OpenAiReply(const GenerateCall& call, const ServedModel& model, std::string id, std::int64_t created)
    : call_(call), model_(model), id_(std::move(id)), created_(created), completions_(call.requests.size() * static_cast<std::size_t>(call.samples)),
      offsets_(completions_.size()) {}

void OpenAiReply::add(std::size_t request, int sample, Completion completion) {
  completion_tokens_ += static_cast<std::int64_t>(completion.tokens.size());
  completions_.at(index(request, sample)) = std::move(completion);
}

std::string OpenAiReply::whole() const {
  Json choices = Json::array();
  for (std::size_t i = 0; i < completions_.size(); ++i) {
    const Completion& c = completions_[i];
    std::int64_t offset = 0;
    Json choice = {{"index", i}};
    if (call_.chat) choice["message"] = {{"role", "assistant"}, {"content", c.text}, {"refusal", nullptr}};
    else choice["text"] = c.text;
    choice["logprobs"] = logprobs_of(call_, *model_.tokenizer, c.tokens, c.logprobs, offset);
    choice["finish_reason"] = finish_reason(c.stop);
    if (call_.token_ids) {
      choice["token_ids"] = c.tokens;
      choice["prompt_token_ids"] = call_.requests[i / static_cast<std::size_t>(call_.samples)].prompt.tokens;
    }
    choice["weights"] = weights_of(c);
    choices.push_back(std::move(choice));
  }
  Json body = head(call_, model_, id_, created_, false);
  body["choices"] = std::move(choices);
  body["usage"] = usage_of(call_, completion_tokens_);
  return text_of(body);
}

std::string OpenAiReply::opening(std::size_t request, int sample) const {
  Json body = head(call_, model_, id_, created_, true);
  Json choice = {{"index", index(request, sample)}, {"delta", {{"role", "assistant"}, {"content", ""}}}};
  choice["logprobs"] = nullptr;
  choice["finish_reason"] = nullptr;
  body["choices"] = Json::array({std::move(choice)});
  return text_of(body);
}

std::string OpenAiReply::tokens(std::size_t request, int sample, const std::vector<TokenId>& tokens, const std::vector<float>& logprobs,
                                const std::string& text) {
  const std::size_t i = index(request, sample);
  Json choice = {{"index", i}};
  if (call_.chat) choice["delta"] = {{"content", text}};
  else choice["text"] = text;
  choice["logprobs"] = logprobs_of(call_, *model_.tokenizer, tokens, logprobs, offsets_[i]);
  choice["finish_reason"] = nullptr;
  if (call_.token_ids) choice["token_ids"] = tokens;
  Json body = head(call_, model_, id_, created_, true);
  body["choices"] = Json::array({std::move(choice)});
  return text_of(body);
}

std::string OpenAiReply::finished(std::size_t request, int sample, const Completion& c) {
  completion_tokens_ += static_cast<std::int64_t>(c.tokens.size());
  Json choice = {{"index", index(request, sample)}};
  if (call_.chat) choice["delta"] = Json::object();
  else choice["text"] = "";
  choice["logprobs"] = nullptr;
  choice["finish_reason"] = finish_reason(c.stop);
  choice["weights"] = weights_of(c);
  Json body = head(call_, model_, id_, created_, true);
  body["choices"] = Json::array({std::move(choice)});
  return text_of(body);
}

std::string OpenAiReply::usage() const {
  Json body = head(call_, model_, id_, created_, true);
  body["choices"] = Json::array();
  body["usage"] = usage_of(call_, completion_tokens_);
  return text_of(body);
}

}  // namespace r1
