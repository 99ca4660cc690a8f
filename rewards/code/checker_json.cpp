#include "rewards/code/checker_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "rewards/code/toolchain.h"
#include "rewards/completion_text.h"

namespace r1::code {
namespace {

using Json = nlohmann::json;

void set_limit(Limits& limits, const std::string& name, const Json& value) {
  const std::pair<const char*, std::int64_t*> known[] = {{"wall_ms", &limits.wall_ms},     {"cpu_ms", &limits.cpu_ms},
                                                         {"memory_mb", &limits.memory_mb}, {"processes", &limits.processes},
                                                         {"file_mb", &limits.file_mb},     {"output_kb", &limits.output_kb}};
  const auto it = std::find_if(std::begin(known), std::end(known), [&](const auto& k) { return name == k.first; });
  if (it == std::end(known)) throw DataError(message("checker: unknown limit '", name, "'"));
  if (!value.is_number_integer() || value < 1 || value > 3'600'000)
    throw DataError(message("checker: limit ", name, " must be a whole number from 1 to 3600000"));
  *it->second = value.get<std::int64_t>();
}

bool is_one_of(const std::string& word, std::initializer_list<const char*> list) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

std::string text_in(const Json& object, const char* key) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_string()) throw DataError(message("'", key, "' must be a text"));
  return it->get<std::string>();
}

Checker checker_of(const Json& json) {
  Checker c;
  if (json.is_string()) {
    c.program = json.get<std::string>();
  } else if (json.is_object()) {
    for (const auto& [key, value] : json.items()) {
      if (key == "limits") {
        if (!value.is_object()) throw DataError("checker: 'limits' must be an object");
        for (const auto& [limit, number] : value.items()) set_limit(c.limits, limit, number);
      } else if (key == "files") {
        if (!value.is_object()) throw DataError("checker: 'files' must be an object of names and texts");
        for (const auto& [name, text] : value.items()) {
          if (name.empty() || name == "." || name == ".." || name.find('/') != name.npos || name.find('\0') != name.npos)
            throw DataError(message("checker: '", name, "' is no plain file name"));
          if (is_one_of(name, {"input.txt", "output.txt", "answer.txt", "main"}))
            throw DataError(message("checker: the file name '", name, "' is the runner's own"));
          c.files.push_back({name, text_in(value, name.c_str())});
        }
      } else if (!is_one_of(key, {"program", "language", "verdict"})) {
        throw DataError(message("checker: unknown key '", key, "'"));
      }
    }
    c.program = text_in(json, "program");
    if (json.contains("language")) c.language = text_in(json, "language");
    if (json.contains("verdict")) {
      const std::string verdict = text_in(json, "verdict");
      if (!is_one_of(verdict, {"exit", "printed"})) throw DataError("checker: 'verdict' must be exit or printed");
      c.printed = verdict == "printed";
    }
  } else {
    throw DataError("'checker' must be a text or an object");
  }
  if (trim(c.program).empty()) throw DataError("checker: its program is empty");
  const Language* language = find_language(c.language);
  if (!language) throw DataError(message("checker: the runner knows no language '", c.language, "'"));
  for (const BoxFile& f : c.files)
    if (f.name == file_name(*language, c.program)) throw DataError(message("checker: the file name '", f.name, "' is its program's own"));
  return c;
}

}  // namespace

Checker checker_from_json(const std::string& json) {
  const Json value = Json::parse(json, nullptr, false);
  if (!value.is_discarded()) return checker_of(value);
  const std::string_view text = trim(json);
  if (text.empty()) throw DataError("checker: its program is empty");
  if (text[0] == '{') throw DataError("checker: it begins as an object but is no JSON");
  Checker checker;
  checker.program = json;
  return checker;
}

}  // namespace r1::code
