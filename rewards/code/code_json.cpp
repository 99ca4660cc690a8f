#include "rewards/code/code_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "rewards/code/extract_program.h"
#include "rewards/code/toolchain.h"
#include "rewards/completion_text.h"

namespace r1::code {
namespace {

using Json = nlohmann::json;

std::string text_of(const Json& entry, const char* key, std::size_t index) {
  const auto it = entry.find(key);
  if (it == entry.end() || !it->is_string()) throw DataError(message("test ", index + 1, ": '", key, "' must be a text"));
  return it->get<std::string>();
}

std::vector<TestCase> tests_of(const Json& list) {
  if (!list.is_array() || list.empty()) throw DataError("tests must be a list with at least one entry");
  std::vector<TestCase> tests;
  for (const Json& entry : list) {
    const std::size_t i = tests.size();
    if (!entry.is_object()) throw DataError(message("test ", i + 1, " must be {input, output} or {call, expected}"));
    TestCase t;
    if (entry.contains("asserts")) {
      t.asserts = text_of(entry, "asserts", i);
      for (const auto& [key, into] : {std::pair<const char*, std::string*>{"entry_point", &t.entry_point},
                                      {"setup", &t.setup},
                                      {"prelude", &t.prelude}})
        if (entry.contains(key)) *into = text_of(entry, key, i);
      if (trim(t.asserts).empty()) throw DataError(message("test ", i + 1, ": 'asserts' is empty"));
    } else if (entry.contains("call")) {
      t.call = text_of(entry, "call", i);
      if (trim(t.call).empty()) throw DataError(message("test ", i + 1, ": 'call' is empty"));
      if (!entry.contains("expected")) throw DataError(message("test ", i + 1, ": 'expected' is missing"));
      t.expected = entry["expected"].dump();
    } else {
      t.input = entry.contains("input") ? text_of(entry, "input", i) : "";
      t.output = text_of(entry, "output", i);
    }
    tests.push_back(std::move(t));
  }
  return tests;
}

void read_limits(const Json& json, Limits& limits) {
  if (!json.is_object()) throw DataError("limits must be an object");
  for (const auto& [key, value] : json.items()) {
    std::int64_t* into = key == "wall_ms"     ? &limits.wall_ms
                         : key == "cpu_ms"    ? &limits.cpu_ms
                         : key == "memory_mb" ? &limits.memory_mb
                         : key == "processes" ? &limits.processes
                         : key == "file_mb"   ? &limits.file_mb
                         : key == "output_kb" ? &limits.output_kb
                                              : nullptr;
    if (!into) throw DataError(message("unknown limit '", key, "'"));
    if (!value.is_number_integer() || value < 1 || value > 3'600'000)
      throw DataError(message("limit ", key, " must be a whole number from 1 to 3600000"));
    *into = value.get<std::int64_t>();
  }
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
        read_limits(value, c.limits);
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

std::vector<TestCase> tests_from_json(const std::string& json) {
  Json list = Json::parse(json, nullptr, false);
  // Data sets often keep the list as a text inside the column.
  if (list.is_string()) list = Json::parse(list.get<std::string>(), nullptr, false);
  if (list.is_discarded()) throw DataError("tests are no JSON");
  return tests_of(list);
}

Checker checker_from_json(const std::string& json) {
  const Json value = Json::parse(json, nullptr, false);
  if (!value.is_discarded()) return checker_of(value);
  Checker checker;
  checker.program = json;
  return checker;
}

std::string judge_json_line(const std::string& line) {
  Json reply = Json::object();
  const auto done = [&] { return reply.dump(-1, ' ', false, Json::error_handler_t::replace); };
  const Json request = Json::parse(line, nullptr, false);
  if (!request.is_object()) {
    reply["error"] = "the line is no JSON object";
    return done();
  }
  if (request.contains("id")) reply["id"] = request["id"];
  try {
    for (const auto& [key, value] : request.items())
      if (!is_one_of(key, {"id", "completion", "program", "language", "tests", "checker", "tolerance", "limits"}))
        throw DataError(message("unknown key '", key, "'"));
    Submission s;
    s.language = request.contains("language") ? text_in(request, "language") : "";
    s.tests = tests_of(request.contains("tests") ? request["tests"] : Json());
    if (request.contains("checker")) s.checker = checker_of(request["checker"]);
    if (request.contains("tolerance")) {
      const Json& t = request["tolerance"];
      if (!t.is_number() || t < 0.0 || t > 1.0) throw DataError("'tolerance' must be a number from 0 to 1");
      s.tolerance = t.get<double>();
    }
    if (request.contains("limits")) read_limits(request["limits"], s.limits);
    if (request.contains("program") == request.contains("completion"))
      throw DataError("one of 'program' and 'completion' must be there");
    Judgement j;
    j.total = static_cast<int>(s.tests.size());
    bool found = true;
    if (request.contains("program")) {
      s.program = text_in(request, "program");
    } else {
      const std::string text = text_in(request, "completion");
      Extracted extracted = extract_program(after_think(text, false).text, s.language);
      found = extracted.found;
      s.program = std::move(extracted.program);
      if (found) s.language = extracted.language;
    }
    if (s.language.empty()) s.language = "python";
    if (found) {
      j = judge(s);
    } else {
      j.verdict = CodeVerdict::kWrongAnswer;
      j.reason = "no closed code block";
    }
    reply.update({{"correct", j.verdict == CodeVerdict::kAccepted}, {"verdict", to_string(j.verdict)}, {"passed", j.passed},
                  {"total", j.total}, {"cpu_ms", j.cpu_ms}, {"wall_ms", j.wall_ms}, {"memory_kb", j.memory_kb},
                  {"reason", j.reason}});
  } catch (const std::exception& e) {
    reply["error"] = e.what();
  }
  return done();
}

}  // namespace r1::code
