// The JSON lines of user_reply.h.
#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "rewards/users/user_reply.h"

namespace r1 {
namespace {

using Json = nlohmann::json;

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string shown(std::string text, std::size_t most = 200) {
  return text.size() <= most ? text : text.substr(0, most) + "...";
}

// NaN and Infinity are no JSON, but what Python and others print for them. In quotes the line can be read, and the
// error can name the sample.
std::string quote_non_numbers(std::string_view line) {
  std::string out;
  bool text = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (text && c == '\\' && i + 1 < line.size()) {
      out += c;
      out += line[++i];
      continue;
    }
    if (c == '"') text = !text;
    bool done = false;
    if (!text) {
      for (const std::string_view word : {"-Infinity", "Infinity", "-inf", "inf", "NaN", "nan"}) {
        if (!line.substr(i).starts_with(word)) continue;
        out += '"' + std::string(word) + '"';
        i += word.size() - 1;
        done = true;
        break;
      }
    }
    if (!done) out += c;
  }
  return out;
}

Json parse(std::string_view line) {
  try {
    return Json::parse(line);
  } catch (const Json::exception&) {
  }
  try {
    return Json::parse(quote_non_numbers(line));
  } catch (const Json::exception&) {
    throw Error(message("the reply is no JSON: '", shown(std::string(line)),
                        "'; write one JSON object a line to stdout and anything else to stderr"));
  }
}

const Json& list(const Json& json, const std::string& what) {
  if (!json.is_array()) throw Error(message(what, " is ", shown(dump(json), 60), "; it must be a list with one entry for each completion"));
  return json;
}

std::vector<std::string> texts(const Json& json, const std::string& what) {
  std::vector<std::string> out;
  for (const Json& v : list(json, what)) {
    if (!v.is_string() && !v.is_null())
      throw Error(message("sample ", out.size(), ": ", what, " holds ", shown(dump(v), 60), "; it must be a text or null"));
    out.push_back(v.is_null() ? "" : v.get<std::string>());
  }
  return out;
}

// [[token, value], ...] or null.
std::vector<StepReward> steps_of(const Json& json, std::size_t sample) {
  std::vector<StepReward> out;
  if (json.is_null()) return out;
  const auto wrong = [&](const Json& v) {
    return Error(message("sample ", sample, ": steps hold ", shown(dump(v), 60), "; each must be [index of the token that ends the step, number]"));
  };
  if (!json.is_array()) throw wrong(json);
  for (const Json& v : json) {
    if (!v.is_array() || v.size() != 2 || !v[0].is_number_integer() || !v[1].is_number()) throw wrong(v);
    out.push_back({v[0].get<std::int32_t>(), v[1].get<float>()});
  }
  return out;
}

}  // namespace

std::string write_request(std::uint64_t id, const SampleGroup& group) {
  const Prompt& p = group.prompt;
  Json messages = Json::array(), columns = Json::object(), completions = Json::array();
  for (const Message& m : p.messages) messages.push_back({{"role", m.role}, {"content", m.content}});
  for (const auto& [name, text] : p.columns) {
    Json value = Json::parse(text, nullptr, false);
    columns[name] = value.is_discarded() ? Json(text) : std::move(value);
  }
  for (const Completion& c : group.completions)
    completions.push_back({{"text", c.text}, {"token_ids", c.tokens}, {"stop", to_string(c.stop)}});
  return dump({{"id", id}, {"prompt_id", p.id}, {"task", p.task}, {"prompt", p.text}, {"messages", std::move(messages)},
               {"reference", p.reference}, {"columns", std::move(columns)}, {"completions", std::move(completions)}});
}

UserReply parse_reply(std::string_view line, std::uint64_t id) {
  const Json reply = parse(line);
  if (!reply.is_object()) throw Error(message("the reply is ", shown(dump(reply)), "; it must be a JSON object"));
  constexpr auto kKeys = std::to_array<std::string_view>(
      {"id", "rewards", "verdicts", "details", "steps", "columns", "metrics", "error", "traceback"});
  for (const auto& [key, value] : reply.items())
    if (std::find(kKeys.begin(), kKeys.end(), key) == kKeys.end())
      throw Error(message("the reply has the unknown key '", key,
                          "'; known: id, rewards, verdicts, details, steps, columns, metrics, error, traceback"));
  if (!reply.contains("id") || reply["id"] != Json(id))
    throw Error(message("the reply has the id ", reply.contains("id") ? shown(dump(reply["id"]), 60) : "(none)", " where ", id,
                        " was asked for; send each request's id back, one reply a request, in order"));
  if (reply.contains("error") && !reply["error"].is_null()) {
    std::string text = reply["error"].is_string() ? reply["error"].get<std::string>() : dump(reply["error"]);
    if (reply.contains("traceback") && reply["traceback"].is_string()) text += "\n" + reply["traceback"].get<std::string>();
    throw Error(text);
  }
  UserReply out;
  if (!reply.contains("rewards")) throw Error("the reply has neither 'rewards' nor 'error'");
  for (const Json& v : list(reply["rewards"], "rewards")) {
    if (!v.is_number() && !v.is_null())
      throw Error(message("sample ", out.rewards.size(), ": the reward is ", shown(dump(v), 60), "; it must be a finite number, or null to abstain"));
    out.rewards.push_back(v.is_null() ? std::nullopt : std::optional(v.get<double>()));
  }
  if (reply.contains("verdicts")) out.verdicts = texts(reply["verdicts"], "verdicts");
  if (reply.contains("details")) out.details = texts(reply["details"], "details");
  if (reply.contains("steps"))
    for (const Json& one : list(reply["steps"], "steps")) out.steps.push_back(steps_of(one, out.steps.size()));
  const auto map = [&](const char* key) -> Json {
    const Json value = reply.value(key, Json::object());
    if (!value.is_object()) throw Error(message(key, " is ", shown(dump(value), 60), "; it must be an object of names"));
    return value;
  };
  const Json columns = map("columns"), metrics = map("metrics");
  for (const auto& [name, values] : columns.items()) {
    std::vector<std::string>& column = out.columns[name];
    for (const Json& v : list(values, "column '" + name + "'")) column.push_back(v.is_string() ? v.get<std::string>() : dump(v));
  }
  for (const auto& [name, value] : metrics.items()) {
    if (!value.is_number()) throw Error(message("metric '", name, "' is ", shown(dump(value), 60), "; it must be a finite number"));
    out.metrics[name] = value.get<double>();
  }
  return out;
}

}  // namespace r1
