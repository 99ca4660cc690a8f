#include "proto/openai_request.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>

#include <nlohmann/json.hpp>

#include "core/suggest.h"
#include "proto/api_error.h"

namespace r1 {
namespace {

using Json = nlohmann::json;

constexpr int kMaxDepth = 32;
constexpr std::size_t kMaxStops = 16;
constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max(), kLeast = std::numeric_limits<std::int64_t>::min();

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

[[noreturn]] void wrong(const std::string& param, const std::string& text) { throw ApiError(400, text, "invalid_request_error", param); }

// A JSON object whose fields are asked for by name; what nobody asked for is an error. null counts as absent.
class Fields {
 public:
  explicit Fields(std::string_view body) {
    bool deep = false;
    const auto shallow = [&](int depth, Json::parse_event_t, Json&) {
      deep = deep || depth > kMaxDepth;
      return !deep;
    };
    json_ = Json::parse(body, shallow, false);
    if (deep) wrong("", message("the body is nested deeper than ", kMaxDepth, " levels"));
    if (!json_.is_object()) wrong("", "the body must be a JSON object");
  }
  const Json* find(const std::string& key) {
    known_.insert(key);
    const auto it = json_.find(key);
    return it == json_.end() || it->is_null() ? nullptr : &*it;
  }
  bool flag(const std::string& key, bool fallback = false) {
    const Json* v = find(key);
    if (v && !v->is_boolean()) wrong(key, key + " must be true or false");
    return v ? v->get<bool>() : fallback;
  }
  double number(const std::string& key, double fallback, double low, double high) {
    const Json* v = find(key);
    if (!v) return fallback;
    if (!v->is_number() || !(v->get<double>() >= low && v->get<double>() <= high))
      wrong(key, message(key, " is ", dump(*v).substr(0, 40), ", must be a number from ", low, " to ", high));
    return v->get<double>();
  }
  std::int64_t integer(const std::string& key, std::int64_t fallback, std::int64_t low, std::int64_t high) {
    const Json* v = find(key);
    if (!v) return fallback;
    const bool fits = v->is_number_unsigned() ? v->get<std::uint64_t>() <= static_cast<std::uint64_t>(kMost) : v->is_number_integer();
    if (!fits || v->get<std::int64_t>() < low || v->get<std::int64_t>() > high)
      wrong(key, message(key, " is ", dump(*v).substr(0, 40), ", must be an integer from ", low, " to ", high));
    return v->get<std::int64_t>();
  }
  // Only this value means the same as leaving it out.
  void only(const std::string& key, const Json& value, const char* why) {
    const Json* v = find(key);
    if (v && *v != value) wrong(key, message(key, " is ", dump(*v).substr(0, 60), ": ", why));
  }
  void ignore(std::initializer_list<const char*> keys) {
    for (const char* key : keys) find(key);
  }
  void finish() const {
    for (const auto& [key, value] : json_.items())
      if (!known_.contains(key))
        wrong(key, message("unknown field '", key.substr(0, 60), "'; known: ", join_names(std::vector<std::string>(known_.begin(), known_.end()))));
  }

 private:
  Json json_;
  std::set<std::string> known_;
};

std::vector<TokenId> token_list(const Json& v, const std::string& key, const ServedModel& m) {
  std::vector<TokenId> ids;
  ids.reserve(v.size());
  for (const Json& t : v) {
    if (!t.is_number_unsigned() || t.get<std::uint64_t>() >= static_cast<std::uint64_t>(m.tokenizer->vocab_size()))
      wrong(key, message(key, " holds ", dump(t).substr(0, 40), "; token ids are integers from 0 to ", m.tokenizer->vocab_size() - 1));
    ids.push_back(t.get<TokenId>());
  }
  return ids;
}

std::string text_of_content(const Json& content) {
  if (content.is_string()) return content.get<std::string>();
  if (content.is_null()) return "";
  std::string text;
  if (!content.is_array()) wrong("messages", "a message's content must be a string or a list of text parts");
  for (const Json& part : content) {
    if (!part.is_object() || part.value("type", Json()) != "text" || !part.value("text", Json()).is_string())
      wrong("messages", "a content part must be {\"type\": \"text\", \"text\": ...}; this model reads text only");
    text += part["text"].get<std::string>();
  }
  return text;
}

Prompt chat_prompt(Fields& f, const ServedModel& m) {
  if (!m.chat) throw ApiError(400, m.name + " has no chat template; use /v1/completions");
  const Json* messages = f.find("messages");
  if (!messages || !messages->is_array() || messages->empty()) wrong("messages", "messages must be a list with at least one message");
  Prompt p;
  Json rendered = Json::array();
  for (const Json& one : *messages) {
    if (!one.is_object() || !one.value("role", Json()).is_string()) wrong("messages", "each message must be an object with a role and a content");
    Json copy = one;
    copy["content"] = text_of_content(one.value("content", Json()));
    p.messages.push_back({one["role"].get<std::string>(), copy["content"].get<std::string>()});
    rendered.push_back(std::move(copy));
  }
  ChatTemplate::Options options = m.chat_options;
  const bool go_on = f.flag("continue_final_message");
  options.add_generation_prompt = f.flag("add_generation_prompt", !go_on);
  if (go_on && options.add_generation_prompt) wrong("continue_final_message", "continue_final_message needs add_generation_prompt: false");
  if (const Json* kwargs = f.find("chat_template_kwargs")) {
    if (!kwargs->is_object()) wrong("chat_template_kwargs", "chat_template_kwargs must be an object");
    options.variables_json = dump(*kwargs);
  }
  try {
    p.text = m.chat->render_json(dump(rendered), options);
  } catch (const DataError& e) {
    wrong("messages", message("the chat template refuses the messages: ", e.what()));
  }
  if (go_on) {
    const std::string& last = p.messages.back().content;
    const std::size_t at = last.empty() ? std::string::npos : p.text.rfind(last);
    if (at == std::string::npos) wrong("continue_final_message", "the chat template changes the last message's text, which cannot be continued");
    p.text.resize(at + last.size());
  }
  p.tokens = m.tokenizer->encode(p.text);
  return p;
}

std::vector<Prompt> completion_prompts(Fields& f, const ServedModel& m) {
  const Json* prompt = f.find("prompt");
  const bool special = f.flag("add_special_tokens", true);
  if (!prompt) wrong("prompt", "prompt is missing");
  std::vector<Prompt> prompts;
  const auto add = [&](const Json& one) {
    Prompt p;
    if (one.is_string()) {
      p.text = one.get<std::string>();
      p.tokens = m.tokenizer->encode(p.text, special);
    } else if (one.is_array()) {
      p.tokens = token_list(one, "prompt", m);
    } else {
      wrong("prompt", "prompt must be a string, a list of token ids, or a list of these");
    }
    prompts.push_back(std::move(p));
  };
  if (prompt->is_array() && !prompt->empty() && !prompt->front().is_number()) {
    if (prompt->size() > static_cast<std::size_t>(m.max_samples))
      wrong("prompt", message(prompt->size(), " prompts, a call may have ", m.max_samples));
    for (const Json& one : *prompt) add(one);
  } else {
    add(*prompt);
  }
  return prompts;
}

SamplingOptions sampling_options(Fields& f, const ServedModel& m, std::int64_t default_tokens) {
  SamplingOptions s;
  s.temperature = static_cast<float>(f.number("temperature", 1, 0, 100));
  s.top_p = static_cast<float>(f.number("top_p", 1, 0, 1));
  s.top_k = static_cast<int>(std::max<std::int64_t>(0, f.integer("top_k", 0, -1, 1 << 24)));
  s.min_p = static_cast<float>(f.number("min_p", 0, 0, 1));
  s.ignore_eos = f.flag("ignore_eos");
  // The older name, then the newer one.
  const std::int64_t asked = f.integer("max_tokens", default_tokens, 1, m.max_new_tokens);
  s.max_new_tokens = static_cast<int>(f.integer("max_completion_tokens", asked, 1, m.max_new_tokens));
  if (const Json* stop = f.find("stop")) {
    const Json list = stop->is_array() ? *stop : Json::array({*stop});
    if (list.size() > kMaxStops) wrong("stop", message("stop has ", list.size(), " strings, the limit is ", kMaxStops));
    for (const Json& one : list) {
      if (!one.is_string() || one.get_ref<const std::string&>().empty()) wrong("stop", "stop must be a string that is not empty, or a list of such");
      s.stop_strings.push_back(one.get<std::string>());
    }
  }
  if (const Json* ids = f.find("stop_token_ids")) {
    if (!ids->is_array()) wrong("stop_token_ids", "stop_token_ids must be a list of token ids");
    s.stop_tokens = token_list(*ids, "stop_token_ids", m);
  }
  return s;
}

GenerateCall finish(Fields& f, const ServedModel& m, std::vector<Prompt> prompts, GenerateCall call, std::uint64_t fresh_seed) {
  if (const Json* name = f.find("model"); name && *name != m.name)
    throw ApiError(404, message("the model ", dump(*name).substr(0, 80), " is not served; this is \"", m.name, "\""), "invalid_request_error",
                   "model", "model_not_found");
  call.stream = f.flag("stream");
  call.token_ids = f.flag("return_token_ids");
  if (const Json* o = f.find("stream_options")) {
    if (!call.stream || !o->is_object()) wrong("stream_options", "stream_options must be an object, and needs stream: true");
    call.include_usage = o->value("include_usage", Json(false)) == true;
  }
  call.samples = static_cast<int>(f.integer("n", 1, 1, m.max_samples));
  if (call.samples * static_cast<std::int64_t>(prompts.size()) > m.max_samples)
    wrong("n", message("n ", call.samples, " for ", prompts.size(), " prompts is more than the ", m.max_samples, " completions a call may have"));
  f.only("best_of", call.samples, "every completion is returned, so it must equal n or be left out");
  f.only("frequency_penalty", 0, "penalties are not implemented, as they would change the distribution that is sampled");
  f.only("presence_penalty", 0, "penalties are not implemented, as they would change the distribution that is sampled");
  f.only("logit_bias", Json::object(), "biases are not implemented");
  f.ignore({"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"});  // they change no answer
  const Json* given = f.find("seed");
  const std::uint64_t seed = given ? static_cast<std::uint64_t>(f.integer("seed", 0, kLeast, kMost)) : fresh_seed;
  const char* const source = call.chat ? "messages" : "prompt";
  const auto too_long = [](const char* param, const std::string& text) {
    throw ApiError(400, text, "invalid_request_error", param, "context_length_exceeded");
  };
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    Prompt& p = prompts[i];
    const auto length = static_cast<std::int64_t>(p.tokens.size());
    if (length == 0) wrong(source, "the prompt has no tokens; the model needs at least one");
    if (length >= m.context) too_long(source, message("the prompt has ", length, " tokens, the model's context ", m.context));
    RolloutRequest r;
    r.sampling = sampling_options(f, m, call.chat ? std::min<std::int64_t>(m.max_new_tokens, m.context - length) : 16);
    if (r.sampling.top_p <= 0.f) wrong("top_p", "top_p is 0, must be above; temperature: 0 is greedy");
    if (length + r.sampling.max_new_tokens > m.context)
      too_long("max_tokens",
               message("the prompt's ", length, " tokens and max_tokens ", r.sampling.max_new_tokens, " exceed the model's context of ", m.context));
    p.id = message("prompt ", i);
    r.prompt = std::move(p);
    r.samples = call.samples;
    r.key = {seed, 0, i, 0};
    call.requests.push_back(std::move(r));
  }
  f.finish();
  return call;
}

constexpr const char* kOneLogprob = "alternatives are not implemented, the sampled token's log-probability is";

}  // namespace

GenerateCall parse_completion(std::string_view body, const ServedModel& m, std::uint64_t fresh_seed) {
  Fields f(body);
  GenerateCall call;
  if (const Json* v = f.find("logprobs")) {
    call.logprobs = *v == 0 || *v == true;
    if (!call.logprobs && *v != false) wrong("logprobs", message("logprobs must be 0: ", kOneLogprob));
  }
  f.only("echo", false, "the prompt is not returned");
  f.only("suffix", "", "insertion is not implemented");
  std::vector<Prompt> prompts = completion_prompts(f, m);
  return finish(f, m, std::move(prompts), std::move(call), fresh_seed);
}

GenerateCall parse_chat(std::string_view body, const ServedModel& m, std::uint64_t fresh_seed) {
  Fields f(body);
  GenerateCall call;
  call.chat = true;
  call.logprobs = f.flag("logprobs");
  f.only("top_logprobs", 0, kOneLogprob);
  f.only("tools", Json::array(), "tool calls are not implemented");
  f.only("tool_choice", "none", "tool calls are not implemented");
  f.only("functions", Json::array(), "tool calls are not implemented");
  f.only("response_format", Json{{"type", "text"}}, "constrained output is not implemented");
  f.ignore({"parallel_tool_calls"});
  std::vector<Prompt> prompts;
  prompts.push_back(chat_prompt(f, m));
  return finish(f, m, std::move(prompts), std::move(call), fresh_seed);
}

std::vector<TokenId> parse_tokenize(std::string_view body, const ServedModel& m) {
  Fields f(body);
  f.ignore({"model"});
  std::vector<TokenId> tokens;
  if (f.find("messages")) {
    tokens = chat_prompt(f, m).tokens;
  } else {
    const Json* prompt = f.find("prompt");
    if (!prompt || !prompt->is_string()) wrong("prompt", "prompt must be a string; or give messages");
    tokens = m.tokenizer->encode(prompt->get_ref<const std::string&>(), f.flag("add_special_tokens", true));
  }
  f.finish();
  return tokens;
}

std::string parse_detokenize(std::string_view body, const ServedModel& m) {
  Fields f(body);
  f.ignore({"model"});
  const Json* tokens = f.find("tokens");
  if (!tokens || !tokens->is_array()) wrong("tokens", "tokens must be a list of token ids");
  const std::string text = m.tokenizer->decode(token_list(*tokens, "tokens", m), false);
  f.finish();
  return text;
}

}  // namespace r1
