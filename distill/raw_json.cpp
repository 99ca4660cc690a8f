#include "distill/raw_json.h"

#include <stdexcept>

#include "core/json_text.h"

namespace r1::raw {
namespace {

// 0.1f as 0.1 and not 0.10000000149011612; 1 as 1.0, so that a column of them has one type for every reader.
Json number(float value) {
  const Json read = Json::parse(json_number(value));
  return read.is_null() ? read : Json(read.get<double>());
}

StopReason stop_from(const std::string& word) {
  for (const StopReason s : {StopReason::kEos, StopReason::kStop, StopReason::kLength, StopReason::kAborted})
    if (word == to_string(s)) return s;
  throw std::invalid_argument("stop is " + word);
}

Verdict verdict_from(const std::string& word) {
  for (const Verdict v : {Verdict::kCorrect, Verdict::kWrong, Verdict::kUnparsed, Verdict::kTimeout, Verdict::kError, Verdict::kAbstain})
    if (word == to_string(v)) return v;
  throw std::invalid_argument("verdict is " + word);
}

}  // namespace

std::string to_line(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

Json messages_json(const std::vector<Message>& messages) {
  Json out = Json::array();
  for (const Message& m : messages) out.push_back({{"role", m.role}, {"content", m.content}});
  return out;
}

Json sampling_json(const SamplingOptions& s) {
  return {{"temperature", number(s.temperature)}, {"top_p", number(s.top_p)}, {"top_k", s.top_k}, {"min_p", number(s.min_p)},
          {"max_new_tokens", s.max_new_tokens}, {"stop", s.stop_strings}};
}

SamplingOptions sampling_from(const Json& j) {
  SamplingOptions s;
  s.temperature = j.at("temperature").get<float>();
  s.top_p = j.at("top_p").get<float>();
  s.top_k = j.at("top_k").get<int>();
  s.min_p = j.at("min_p").get<float>();
  s.max_new_tokens = j.at("max_new_tokens").get<int>();
  s.stop_strings = j.at("stop").get<std::vector<std::string>>();
  return s;
}

Json to_json(const RawHeader& h) {
  Json out = {{"r1_samples", 1},      {"fingerprint", h.fingerprint}, {"seed", h.seed},
              {"rewards", h.rewards}, {"teachers", Json::array()},    {"prompts", h.prompts}};
  for (const TeacherInfo& t : h.teachers)
    out["teachers"].push_back({{"name", t.name},
                               {"local", t.local},
                               {"dtype", t.dtype},
                               {"template", t.prompt_template},
                               {"template_digest", t.template_digest},
                               {"template_variables", t.template_variables},
                               {"sampling", sampling_json(t.sampling)}});
  return out;
}

RawHeader header_from(const Json& j) {
  if (j.at("r1_samples") != 1) throw std::invalid_argument("it was written by another version of the format");
  RawHeader h;
  h.fingerprint = j.at("fingerprint").get<std::string>();
  h.seed = j.at("seed").get<std::uint64_t>();
  h.rewards = j.at("rewards").get<std::string>();
  h.prompts = j.at("prompts").get<std::size_t>();
  for (const Json& t : j.at("teachers"))
    h.teachers.push_back({t.at("name").get<std::string>(), t.at("dtype").get<std::string>(), t.at("template").get<std::string>(),
                          t.at("template_digest").get<std::string>(), t.at("template_variables").get<std::string>(), t.at("local").get<bool>(),
                          sampling_from(t.at("sampling"))});
  return h;
}

Json to_json(std::size_t index, const RawPrompt& p) {
  Json columns = Json::object(), renders = Json::array();
  for (const auto& [name, text] : p.prompt.columns) columns[name] = Json::parse(text);
  for (const RawPrompt::Render& r : p.renders) renders.push_back({{"digest", r.digest}, {"prefill", r.prefill}});
  return {{"p", index}, {"id", p.prompt.id}, {"task", p.prompt.task}, {"messages", messages_json(p.prompt.messages)},
          {"answer", p.prompt.reference}, {"columns", columns}, {"renders", renders}};
}

RawPrompt prompt_from(const Json& j) {
  RawPrompt p;
  p.prompt.id = j.at("id").get<std::string>();
  p.prompt.task = j.at("task").get<std::string>();
  p.prompt.reference = j.at("answer").get<std::string>();
  for (const Json& m : j.at("messages")) p.prompt.messages.push_back({m.at("role").get<std::string>(), m.at("content").get<std::string>()});
  for (const auto& [name, value] : j.at("columns").items()) p.prompt.columns[name] = value.dump();
  for (const Json& r : j.at("renders")) p.renders.push_back({r.at("digest").get<std::string>(), r.at("prefill").get<std::string>()});
  return p;
}

Json to_json(const RawSample& s) {
  Json out = {{"t", s.teacher}, {"p", s.prompt}, {"s", s.sample}, {"text", s.drawn.text}, {"stop", to_string(s.drawn.stop)}};
  if (!s.drawn.stop_text.empty()) out["stop_text"] = s.drawn.stop_text;
  if (!s.drawn.tokens.empty()) out["ids"] = s.drawn.tokens;
  if (s.drawn.num_tokens >= 0) out["tokens"] = s.drawn.num_tokens;
  if (s.drawn.logprob) out["logprob"] = *s.drawn.logprob;
  if (!s.drawn.digest.empty()) out["digest"] = s.drawn.digest;
  if (!s.drawn.error.empty()) out["error"] = s.drawn.error;
  out["program"] = s.program;
  return out;
}

RawSample sample_from(const Json& j) {
  RawSample s;
  s.teacher = j.at("t").get<std::size_t>();
  s.prompt = j.at("p").get<std::size_t>();
  s.sample = j.at("s").get<int>();
  s.drawn.text = j.at("text").get<std::string>();
  s.drawn.stop = stop_from(j.at("stop").get<std::string>());
  s.drawn.stop_text = j.value("stop_text", "");
  s.drawn.tokens = j.value("ids", std::vector<TokenId>());
  s.drawn.num_tokens = j.value("tokens", std::int64_t{-1});
  if (j.contains("logprob")) s.drawn.logprob = j.at("logprob").get<double>();
  s.drawn.digest = j.value("digest", "");
  s.drawn.error = j.value("error", "");
  s.program = j.at("program").get<std::string>();
  return s;
}

Json to_json(const Score& s) {
  Json parts = Json::object();
  for (const auto& [name, value] : s.parts) parts[name] = number(value);
  return {{"reward", number(s.value)}, {"verdict", to_string(s.verdict)}, {"detail", s.detail}, {"parts", parts}};
}

Score score_from(const Json& j) {
  Score s;
  s.value = j.at("reward").get<float>();
  s.verdict = verdict_from(j.at("verdict").get<std::string>());
  s.detail = j.at("detail").get<std::string>();
  for (const auto& [name, value] : j.at("parts").items()) s.parts[name] = value.get<float>();
  return s;
}

Json to_json(const RawRewrite& r) {
  return {{"rewriter", r.rewriter}, {"rewrite", r.text}, {"kept", r.kept}, {"why", r.why}, {"score", to_json(r.score)}};
}

RawRewrite rewrite_from(const Json& j) {
  return {j.at("rewriter").get<std::string>(), j.at("rewrite").get<std::string>(), j.at("kept").get<bool>(), j.at("why").get<std::string>(),
          score_from(j.at("score"))};
}

}  // namespace r1::raw
