#include "rewards/verify/verifier.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <vector>

#include "core/error.h"
#include "core/json_text.h"
#include "core/suggest.h"
#include "rewards/code/code_json.h"
#include "rewards/completion_text.h"
#include "rewards/factory.h"
#include "rewards/math/check.h"
#include "rewards/json_depth.h"

namespace r1 {

struct Verifier::Settings {
  std::shared_ptr<const RewardFunction> reward;  // judges completions
  math::CheckOptions check;                      // judges math answers that stand alone
};

namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMaxOptions = 16, kMaxOptionBytes = 200, kMaxSettings = 64;

std::string dumped(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::span<const std::string> keys_of(VerifyKind kind) {
  static const std::vector<std::string> math = {"id", "gold", "answer", "completion", "options", "prefill", "stop"};
  static const std::vector<std::string> format = {"id", "completion", "options", "prefill", "stop"};
  static const std::vector<std::string> language = {"id", "completion", "language", "options", "prefill"};
  return kind == VerifyKind::kMath ? math : kind == VerifyKind::kFormat ? format : language;
}

void refuse_unknown_keys(const Json& request, VerifyKind kind) {
  const auto known = keys_of(kind);
  for (const auto& [key, value] : request.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    const std::string near = nearest_name(key, known);
    throw DataError(message("unknown key '", key.substr(0, 40), "'", near.empty() ? "" : "; did you mean '" + near + "'?",
                            " The keys are ", join_names(known)));
  }
}

std::string text_at(const Json& request, const char* key) {
  const auto it = request.find(key);
  if (it == request.end()) throw DataError(message("'", key, "' is missing"));
  if (!it->is_string()) throw DataError(message("'", key, "' must be a text"));
  return it->get<std::string>();
}

// A prefill as text for the reward: the prompt's end.
std::string prefill_of(const Json& request) {
  const auto it = request.find("prefill");
  if (it == request.end() || it->is_null()) return {};
  if (it->is_boolean()) return it->get<bool>() ? "<think>" : "";
  if (!it->is_string()) throw DataError("'prefill' must be the text that the prompt ends with, true or false");
  return it->get<std::string>();
}

StopReason stop_of(const Json& request) {
  if (!request.contains("stop")) return StopReason::kEos;
  const std::string word = text_at(request, "stop");
  for (const StopReason s : {StopReason::kEos, StopReason::kStop, StopReason::kLength, StopReason::kAborted})
    if (word == to_string(s)) return s;
  throw DataError(message("'stop' is '", word.substr(0, 40), "'; one of eos, stop, length, aborted"));
}

// The options as the text under which they are kept. Plain values only: a reward has no others.
std::string options_of(const Json& request, VerifyKind kind) {
  Json options = request.value("options", Json());
  if (options.is_null()) options = Json::object();
  if (!options.is_object()) throw DataError("'options' must be an object");
  if (options.size() > kMaxOptions) throw DataError(message("more than ", kMaxOptions, " options"));
  if (kind == VerifyKind::kLanguage) {
    if (options.contains("language")) throw DataError("'language' belongs beside 'options', not into them");
    options["language"] = text_at(request, "language");
  }
  for (const auto& [name, value] : options.items())
    if (!value.is_primitive() || name.size() > kMaxOptionBytes || dumped(value).size() > kMaxOptionBytes)
      throw DataError(message("option '", name.substr(0, 40), "' must be a number, a text of at most ", kMaxOptionBytes, " bytes, true or false"));
  return dumped(options);
}

RewardResult score(const RewardFunction& reward, const Json& request) {
  SampleGroup group;
  group.prompt.text = prefill_of(request);
  if (request.contains("gold")) group.prompt.reference = text_at(request, "gold");
  Completion& c = group.completions.emplace_back();
  c.text = text_at(request, "completion");
  c.stop = stop_of(request);
  RewardResult r;
  reward.score(group, {&r, 1});
  return r;
}

const char* word(math::Outcome outcome) {
  return outcome == math::Outcome::kEqual ? "equal" : outcome == math::Outcome::kDifferent ? "different" : "undecided";
}

void put_math(Json& reply, bool correct, std::string_view verdict, bool proved, std::string_view gold, std::string_view answer,
              std::string_view reason) {
  reply["correct"] = correct;
  reply["verdict"] = verdict;
  reply["proved"] = proved;
  reply["gold_parsed"] = gold;
  reply["answer_parsed"] = answer;
  reply["reason"] = reason;
}

void math_answer(const Json& request, const math::CheckOptions& options, Json& reply) {
  for (const char* key : {"prefill", "stop"})
    if (request.contains(key)) throw DataError(message("'", key, "' has no effect on an answer alone; it goes with 'completion'"));
  const auto gold = math::read_gold(text_at(request, "gold"));
  const math::Answer answer = math::read_answer(plain_forms(text_at(request, "answer")));
  if (!gold) return put_math(reply, false, "undecided", false, "", to_string(answer), "unreadable_gold");
  const math::Verdict v = math::check(*gold, answer, options);
  put_math(reply, v.outcome == math::Outcome::kEqual, word(v.outcome), v.proved, v.gold_read, v.answer_read, v.reason);
}

void math_completion(const Json& request, const RewardFunction& reward, Json& reply) {
  text_at(request, "gold");
  RewardResult r = score(reward, request);
  const auto column = [&](const char* name) -> const std::string& { return r.columns[name]; };
  const bool abstained = r.verdict == Verdict::kAbstain;
  const std::string verdict = abstained ? "undecided" : column("answer_verdict").empty() ? "different" : column("answer_verdict");
  put_math(reply, r.verdict == Verdict::kCorrect, verdict, column("answer_proof") == "proved", column("gold_parsed"),
           column("answer_parsed"), r.detail);
}

void format(const Json& request, const RewardFunction& reward, Json& reply) {
  const RewardResult r = score(reward, request);
  reply["correct"] = r.verdict == Verdict::kCorrect;
  reply["score"] = Json::parse(json_number(r.value.value_or(0.f)));
  reply["reason"] = r.detail;
}

std::int64_t whole(std::string_view text) {
  std::int64_t n = 0;
  std::from_chars(text.data(), text.data() + text.size(), n);
  return n;
}

void language(const Json& request, const RewardFunction& reward, Json& reply) {
  RewardResult r = score(reward, request);
  reply["score"] = Json::parse(json_number(r.value.value_or(0.f)));
  reply["defined"] = r.detail == "ok";
  for (const char* name : {"target_words", "other_words", "unsure_words"}) reply[name] = whole(r.columns[name]);
  Json others = Json::object();  // from "en:3 de:1"
  for (std::string_view rest = r.columns["other_languages"]; !rest.empty();) {
    const std::string_view entry = rest.substr(0, rest.find(' '));
    rest.remove_prefix(std::min(rest.size(), entry.size() + 1));
    if (const std::size_t colon = entry.rfind(':'); colon != entry.npos)
      others[std::string(entry.substr(0, colon))] = whole(entry.substr(colon + 1));
  }
  reply["others"] = std::move(others);
  for (const char* name : {"language", "detector"}) reply[name] = r.columns[name];
  reply["reason"] = r.detail;
}

}  // namespace

std::shared_ptr<const Verifier::Settings> Verifier::settings(const std::string& options_json) const {
  {
    const std::lock_guard lock(mutex_);
    if (const auto it = known_.find(options_json); it != known_.end()) return it->second;
  }
  auto made = std::make_shared<Settings>();
  // Two readers of the same options: the key in front says which.
  const std::string text = options_json.substr(1);
  if (options_json[0] == 'a') {
    ConfigReader reader(Config::parse(text, "options"));
    made->check = math::read_check_options(reader);
    reader.finish();
  } else {
    made->reward = make_reward(kind_ == VerifyKind::kMath ? "math" : kind_ == VerifyKind::kFormat ? "format" : "language", text);
  }
  const std::lock_guard lock(mutex_);
  if (known_.size() >= kMaxSettings) known_.clear();
  known_[options_json] = made;
  return made;
}

Verifier::Reply Verifier::reply(std::string_view line, std::int64_t number) const {
  if (kind_ == VerifyKind::kCode) {
    auto [text, error] = code::judge_json_line(line, number);
    return {std::move(text), error};
  }
  Json reply = Json::object();
  try {
    check_json_depth(line);
    const Json request = Json::parse(line, nullptr, false);
    if (!request.is_object()) throw DataError("the line is no JSON object");
    if (const auto id = request.find("id"); id != request.end()) reply["id"] = *id;
    refuse_unknown_keys(request, kind_);
    const std::string options = options_of(request, kind_);
    if (kind_ == VerifyKind::kMath) {
      const bool alone = request.contains("answer");
      if (alone == request.contains("completion"))
        throw DataError("give one of 'answer' (the answer alone) and 'completion' (a whole text)");
      const auto s = settings((alone ? 'a' : 'c') + options);
      if (alone) math_answer(request, s->check, reply);
      else math_completion(request, *s->reward, reply);
    } else if (kind_ == VerifyKind::kFormat) {
      format(request, *settings('c' + options)->reward, reply);
    } else {
      language(request, *settings('c' + options)->reward, reply);
    }
    return {dumped(reply), false};
  } catch (const std::exception& e) {
    reply["line"] = number;
    reply["error"] = e.what();
    return {dumped(reply), true};
  }
}

Verifier::Reply Verifier::error_reply(std::int64_t number, std::string_view why) {
  return {dumped(Json{{"line", number}, {"error", why}}), true};
}

VerifyKind verify_kind(std::string_view name) {
  static const std::vector<std::string> names = {"math", "code", "format", "language"};
  const auto it = std::find(names.begin(), names.end(), name);
  if (it == names.end()) throw ConfigError(message("'", name, "' is nothing to verify; one of ", join_names(names)));
  return static_cast<VerifyKind>(it - names.begin());
}

}  // namespace r1
