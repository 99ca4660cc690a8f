#include "rewards/code/test_formats.h"

#include <nlohmann/json.hpp>

#include "core/error.h"

namespace r1::code {
namespace {

using Json = nlohmann::json;

std::string text_in(const Json& row, const char* key) {
  const auto it = row.find(key);
  if (it == row.end() || it->is_null()) return {};
  if (!it->is_string()) throw DataError(message("column '", key, "' must be a text"));
  return it->get<std::string>();
}

std::vector<TestCase> human_eval(const Json& row) {
  TestCase t;
  t.asserts = text_in(row, "test");
  t.entry_point = text_in(row, "entry_point");
  t.prelude = text_in(row, "prompt");
  if (t.asserts.empty() || t.entry_point.empty()) throw DataError("columns 'test' and 'entry_point' must not be empty");
  return {t};
}

std::vector<TestCase> mbpp(const Json& row) {
  const Json& list = row.at("test_list");
  if (!list.is_array() || list.empty()) throw DataError("column 'test_list' must be a list with at least one assert");
  std::vector<TestCase> tests;
  for (const Json& entry : list) {
    if (!entry.is_string()) throw DataError("column 'test_list' must be a list of texts");
    TestCase t;
    t.asserts = entry.get<std::string>();
    t.setup = text_in(row, "test_setup_code");
    tests.push_back(std::move(t));
  }
  return tests;
}

}  // namespace

std::vector<TestCase> tests_from_row(const std::string& row_json) {
  const Json row = Json::parse(row_json, nullptr, false);
  if (!row.is_object()) throw DataError("a data row must be a JSON object");
  if (row.contains("test_list")) return mbpp(row);
  if (row.contains("test") && row.contains("entry_point")) return human_eval(row);
  throw DataError("no known form of tests: the row needs the columns of HumanEval or MBPP");
}

}  // namespace r1::code
