#include "rewards/code/code_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/suggest.h"
#include "rewards/code/checker_json.h"
#include "rewards/code/extract_program.h"
#include "rewards/code/toolchain.h"
#include "rewards/completion_text.h"
#include "rewards/json_depth.h"

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

std::string text_at(const Json& request, const char* key, const std::string& fallback = {}) {
  const auto it = request.find(key);
  if (it == request.end() || it->is_null()) return fallback;
  if (!it->is_string()) throw DataError(message("'", key, "' must be a text"));
  return it->get<std::string>();
}

bool opens_think(const Json& request) {
  const auto it = request.find("prefill");
  if (it == request.end() || it->is_null()) return false;
  if (it->is_boolean()) return it->get<bool>();
  if (!it->is_string()) throw DataError("'prefill' must be the text that the prompt ends with, true or false");
  Prompt prompt;
  prompt.text = it->get<std::string>();
  return prompt_opens_think(prompt);
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
  check_json_depth(json);
  Json list = Json::parse(json, nullptr, false);
  // Data sets often keep the list as a text inside the column.
  if (list.is_string()) {
    const std::string inner = list.get<std::string>();
    check_json_depth(inner);
    list = Json::parse(inner, nullptr, false);
  }
  if (list.is_discarded()) throw DataError("tests are no JSON");
  return tests_of(list);
}

namespace {

CodeRequest read_request(const Json& request) {
  static const std::vector<std::string> known = {"id", "completion", "program", "language", "tests", "checker", "tolerance", "limits", "prefill"};
  for (const auto& [key, value] : request.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    const std::string near = nearest_name(key, known);
    throw DataError(message("unknown key '", key.substr(0, 40), "'", near.empty() ? "" : "; did you mean '" + near + "'?",
                            " The keys are ", join_names(known)));
  }
  if (request.contains("program") == request.contains("completion"))
    throw DataError("give one of 'program' (source text) and 'completion' (a text with a code block)");
  if (!request.contains("tests")) throw DataError("'tests' is missing");
  CodeRequest out;
  Submission& s = out.submission;
  s.tests = tests_of(request["tests"]);
  if (request.contains("checker")) s.checker = checker_from_json(request["checker"].dump());
  s.language = text_at(request, "language");
  if (const auto it = request.find("tolerance"); it != request.end() && !it->is_null()) {
    if (!it->is_number() || it->get<double>() < 0 || it->get<double>() > 1) throw DataError("'tolerance' must be a number from 0 to 1");
    s.tolerance = it->get<double>();
  }
  if (request.contains("limits")) read_limits(request["limits"], s.limits);
  if (!s.language.empty() && !find_language(s.language))
    throw DataError(message("the code runner knows no language '", s.language.substr(0, 40), "'"));
  if (request.contains("program")) {
    s.program = text_at(request, "program");
    if (s.language.empty()) s.language = "python";
    return out;
  }
  const std::string text = text_at(request, "completion");
  const AnswerRegion region = after_think(text, opens_think(request));
  const Extracted found = extract_program(region.text, s.language);
  if (!found.found) out.no_program = region.closed ? "no closed code block" : "the think block is not closed";
  s.program = found.program;
  s.language = found.language.empty() ? "python" : found.language;
  return out;
}

}  // namespace

CodeRequest request_from_json(const std::string& json) {
  check_json_depth(json);
  const Json request = Json::parse(json, nullptr, false);
  if (!request.is_object()) throw DataError("the line is no JSON object");
  return read_request(request);
}

CodeReply judge_json_line(std::string_view line, std::int64_t number) {
  nlohmann::ordered_json reply = nlohmann::ordered_json::object();
  const auto done = [&] { return reply.dump(-1, ' ', false, Json::error_handler_t::replace); };
  try {
    check_json_depth(line);
    const Json request = Json::parse(line, nullptr, false);
    if (!request.is_object()) throw DataError("the line is no JSON object");
    if (request.contains("id")) reply["id"] = request["id"];
    const CodeRequest r = read_request(request);
    Judgement j;
    if (r.no_program.empty()) {
      j = judge(r.submission);
    } else {
      j.verdict = CodeVerdict::kWrongAnswer;
      j.total = static_cast<int>(r.submission.tests.size());
      j.reason = r.no_program;
    }
    reply["correct"] = j.verdict == CodeVerdict::kAccepted;
    reply["verdict"] = to_string(j.verdict);
    reply["passed"] = j.passed;
    reply["total"] = j.total;
    reply["cpu_ms"] = j.cpu_ms;
    reply["wall_ms"] = j.wall_ms;
    reply["memory_kb"] = j.memory_kb;
    reply["reason"] = j.reason;
    return {done(), false};
  } catch (const std::exception& e) {
    if (number > 0) reply["line"] = number;
    reply["error"] = e.what();
    return {done(), true};
  }
}

}  // namespace r1::code
