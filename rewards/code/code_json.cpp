#include "rewards/code/code_json.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "rewards/code/checker_json.h"
#include "rewards/code/extract_program.h"
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

}  // namespace

std::vector<TestCase> tests_from_json(const std::string& json) {
  Json list = Json::parse(json, nullptr, false);
  // Data sets often keep the list as a text inside the column.
  if (list.is_string()) list = Json::parse(list.get<std::string>(), nullptr, false);
  if (list.is_discarded()) throw DataError("tests are no JSON");
  return tests_of(list);
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
    Submission s;
    s.language = request.value("language", "");
    if (request.contains("program")) {
      s.program = request["program"].get<std::string>();
      if (s.language.empty()) s.language = "python";
    } else {
      const std::string text = request.at("completion").get<std::string>();
      const AnswerRegion region = after_think(text, false);
      const Extracted found = extract_program(region.text, s.language);
      if (!found.found) {
        reply.update({{"correct", false}, {"verdict", "wrong_answer"}, {"passed", 0}, {"reason", "no closed code block"}});
        reply["total"] = tests_of(request.at("tests")).size();
        return done();
      }
      s.program = found.program;
      s.language = found.language.empty() ? "python" : found.language;
    }
    s.tests = tests_of(request.at("tests"));
    if (request.contains("checker")) s.checker = checker_from_json(request["checker"].dump());
    s.tolerance = request.value("tolerance", 0.0);
    if (request.contains("limits")) read_limits(request["limits"], s.limits);
    const Judgement j = judge(s);
    reply.update({{"correct", j.verdict == CodeVerdict::kAccepted}, {"verdict", to_string(j.verdict)}, {"passed", j.passed},
                  {"total", j.total}, {"cpu_ms", j.cpu_ms}, {"wall_ms", j.wall_ms}, {"memory_kb", j.memory_kb},
                  {"reason", j.reason}});
  } catch (const std::exception& e) {
    reply["error"] = e.what();
  }
  return done();
}

}  // namespace r1::code
