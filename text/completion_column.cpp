#include "text/completion_column.h"

#include <nlohmann/json.hpp>

#include "core/error.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kCompletionColumns[] = {"completion", "completions", "response",  "responses",
                                              "output",     "outputs",     "generation"};

bool is_message(const Json& v) { return v.is_object() && v.contains("role"); }

StopReason stop_of(const Json& object, const std::string& at) {
  for (const char* key : {"stop", "finish_reason"}) {
    const auto it = object.find(key);
    if (it == object.end() || it->is_null()) continue;
    const std::string word = it->is_string() ? it->get<std::string>() : it->dump();
    for (const StopReason s : {StopReason::kEos, StopReason::kStop, StopReason::kLength, StopReason::kAborted})
      if (word == to_string(s)) return s;
    throw DataError(message(at, ": '", key, "' is ", word.substr(0, 40), "; one of eos, stop, length, aborted"));
  }
  return StopReason::kEos;
}

std::string text_of(const Json& object, const std::string& at) {
  for (const char* key : {"text", "content"})
    if (const auto it = object.find(key); it != object.end()) {
      if (it->is_null()) return "";
      if (it->is_string()) return it->get<std::string>();
    }
  throw DataError(message(at, ": a completion must be a text, {\"text\": ...} or a list of messages, it is ", object.dump().substr(0, 80)));
}

Completion completion_of(const Json& value, const std::string& at) {
  Completion c;
  c.stop = StopReason::kEos;
  if (value.is_string()) {
    c.text = value.get<std::string>();
  } else if (value.is_array() && !value.empty() && is_message(value[0])) {
    const Json* last = nullptr;
    for (const Json& m : value)
      if (is_message(m) && m["role"] == "assistant") last = &m;
    if (!last) throw DataError(message(at, ": the completion's messages hold no assistant turn"));
    c.text = text_of(*last, at);
    c.stop = stop_of(*last, at);
  } else if (value.is_object()) {
    c.text = text_of(value, at);
    c.stop = stop_of(value, at);
  } else {
    text_of(Json::object(), at + " " + value.dump().substr(0, 40));
  }
  return c;
}

}  // namespace

RowCompletions completions_in(const Row& row, std::string column) {
  const std::string at = message(row.file, ":", row.line);
  for (const char* name : kCompletionColumns)
    if (column.empty() && row.columns.contains(name)) column = name;
  if (column.empty() || !row.columns.contains(column)) {
    std::string names;
    for (const auto& [name, text] : row.columns) names += (names.empty() ? "" : ", ") + name;
    throw DataError(message(at, ": there is no ", column.empty() ? "completion column" : "column '" + column + "'",
                            "; name it with --completion; the columns are: ", names));
  }
  const Json value = Json::parse(row.columns.at(column));
  RowCompletions out;
  out.column = column;
  out.list = value.is_array() && !(!value.empty() && is_message(value[0]));
  if (out.list && value.empty()) throw DataError(message(at, ": column '", column, "' is an empty list"));
  if (out.list) {
    for (const Json& one : value) out.completions.push_back(completion_of(one, at));
    return out;
  }
  out.completions.push_back(completion_of(value, at));
  if (value.is_array() || value.is_object()) return out;
  Json stops = Json::object();
  for (const char* key : {"stop", "finish_reason"})
    if (const auto it = row.columns.find(key); it != row.columns.end()) stops[key] = Json::parse(it->second);
  out.completions[0].stop = stop_of(stops, at);
  return out;
}

}  // namespace r1
