#include "rl/eval/code_rows.h"

#include <array>
#include <memory>

#include <nlohmann/json.hpp>
#include <zlib.h>

#include "core/error.h"
#include "rewards/code/extract_program.h"
#include "rewards/code/test_formats.h"

namespace r1 {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxTests = std::size_t{256} << 20;  // bytes of unpacked tests

std::string unbase64(std::string_view text) {
  std::array<int, 256> values;
  values.fill(-1);
  const std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t i = 0; i < alphabet.size(); ++i) values[static_cast<unsigned char>(alphabet[i])] = static_cast<int>(i);
  std::string out;
  std::uint32_t bits = 0;
  int held = 0;
  for (const char c : text) {
    if (c == '=' || c == '\n' || c == '\r') continue;
    const int v = values[static_cast<unsigned char>(c)];
    if (v < 0) throw DataError("private_test_cases: neither JSON nor base64");
    bits = bits << 6 | static_cast<std::uint32_t>(v);
    if ((held += 6) >= 8) out += static_cast<char>(bits >> (held -= 8) & 0xff);
  }
  return out;
}

std::string unzlib(const std::string& packed) {
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) throw DataError("private_test_cases: zlib cannot start");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, inflateEnd);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  std::string out, piece(1 << 16, '\0');
  int state = Z_OK;
  while (state == Z_OK && out.size() < kMaxTests) {
    stream.next_out = reinterpret_cast<Bytef*>(piece.data());
    stream.avail_out = static_cast<uInt>(piece.size());
    state = inflate(&stream, Z_NO_FLUSH);
    out.append(piece.data(), piece.size() - stream.avail_out);
  }
  if (state != Z_STREAM_END) throw DataError("private_test_cases: the packed tests are damaged or too large");
  return out;
}

std::string text_column(const Row& row, const char* name, const std::string& otherwise = {}) {
  const auto it = row.columns.find(name);
  if (it == row.columns.end()) return otherwise;
  const Json value = Json::parse(it->second);
  if (value.is_null()) return otherwise;
  return value.is_string() ? value.get<std::string>() : value.dump();
}

Json test_list(const Row& row, const char* column) {
  const std::string text = text_column(row, column, "[]");
  Json list = Json::parse(text, nullptr, false);
  if (list.is_discarded() && !text.empty()) {
    const auto inner = unpickle_text(unzlib(unbase64(text)));
    if (!inner) throw DataError(message(column, ": the pickle holds more than one text"));
    list = Json::parse(*inner, nullptr, false);
  }
  if (!list.is_array()) throw DataError(message(column, " must be a list of tests as JSON"));
  return list;
}

// A JSON value as a Python expression.
std::string python_of(const Json& v) {
  if (v.is_null()) return "None";
  if (v.is_boolean()) return v.get<bool>() ? "True" : "False";
  std::string out;
  if (v.is_array()) {
    for (const Json& one : v) out += (out.empty() ? "" : ", ") + python_of(one);
    return "[" + out + "]";
  }
  if (v.is_object()) {
    for (const auto& [key, value] : v.items()) out += (out.empty() ? "" : ", ") + Json(key).dump() + ": " + python_of(value);
    return "{" + out + "}";
  }
  return v.dump(-1, ' ', true);  // ASCII escapes mean the same in Python
}

Json live_test(const Json& t, const std::string& function) {
  for (const char* key : {"input", "output"})
    if (!t.is_object() || !t.contains(key) || !t[key].is_string()) throw DataError(message("a test lacks the text '", key, "'"));
  const std::string input = t["input"], output = t["output"];
  if (t.value("testtype", "stdin") == "stdin") return {{"input", input}, {"output", output}};
  if (function.empty()) throw DataError("a functional test needs metadata.func_name");
  std::string arguments;
  for (std::size_t from = 0; from < input.size();) {  // one argument a line
    const std::size_t end = std::min(input.find('\n', from), input.size());
    const std::string line = input.substr(from, end - from);
    from = end + 1;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const Json value = Json::parse(line, nullptr, false);
    if (value.is_discarded()) throw DataError(message("a functional test's argument is no JSON: ", line.substr(0, 60)));
    arguments += (arguments.empty() ? "" : ", ") + python_of(value);
  }
  const Json expected = Json::parse(output, nullptr, false);
  if (expected.is_discarded()) throw DataError(message("a functional test's output is no JSON: ", output.substr(0, 60)));
  return {{"call", "Solution()." + function + "(" + arguments + ")"}, {"expected", expected}};
}

CodeRow live_code(const Row& row) {
  const std::string starter = text_column(row, "starter_code"), metadata = text_column(row, "metadata", "{}");
  const Json meta = Json::parse(metadata, nullptr, false);
  const std::string function =
      meta.is_object() && meta.contains("func_name") && meta["func_name"].is_string() ? meta["func_name"].get<std::string>() : "";
  Json tests = Json::array();
  for (const char* column : {"public_test_cases", "private_test_cases"})
    for (const Json& t : test_list(row, column)) tests.push_back(live_test(t, function));
  if (tests.empty()) throw DataError("the row has no tests");
  return {tests.dump(), starter.empty()
                            ? "Read the input from standard input and print the result. Reply with one ```python block that holds the whole program."
                            : "Complete this code. Reply with one ```python block that holds all of it.\n\n```python\n" + starter + "\n```"};
}

}  // namespace

CodeRow code_row(const Row& row) {
  if (row.columns.contains("public_test_cases") || row.columns.contains("private_test_cases")) return live_code(row);
  Json all = Json::object();
  for (const auto& [name, text] : row.columns) all[name] = Json::parse(text);
  Json tests = Json::array();
  for (const code::TestCase& t : code::tests_from_row(all.dump()))
    tests.push_back({{"asserts", t.asserts}, {"entry_point", t.entry_point}, {"setup", t.setup}, {"prelude", t.prelude}});
  return {tests.dump(), {}};
}

std::optional<std::string> unpickle_text(std::string_view s) {
  const auto take = [&](std::size_t n) {
    const std::string_view out = s.substr(0, std::min(n, s.size()));
    s.remove_prefix(out.size());
    return out;
  };
  const auto number = [&](std::size_t bytes) {
    std::uint64_t n = 0;
    const std::string_view raw = take(bytes);
    for (std::size_t i = raw.size(); i > 0; --i) n = n << 8 | static_cast<unsigned char>(raw[i - 1]);
    return raw.size() == bytes ? n : ~std::uint64_t{0};
  };
  std::optional<std::string> text;
  while (!s.empty()) {
    const char op = take(1)[0];
    if (op == '\x80') take(1);                     // protocol
    else if (op == '\x95') take(8);                // frame
    else if (op == '\x94') continue;               // memoize
    else if (op == 'q') take(1);                   // put
    else if (op == 'r') take(4);
    else if (op == '.') return s.empty() ? text : std::nullopt;
    else if ((op == 'X' || op == '\x8c' || op == '\x8d') && !text) {
      const std::uint64_t n = number(op == 'X' ? 4 : op == '\x8c' ? 1 : 8);
      if (n > s.size()) return std::nullopt;
      text = std::string(take(static_cast<std::size_t>(n)));
    } else {
      return std::nullopt;
    }
  }
  return std::nullopt;
}

std::optional<std::string> unfenced_program(std::string_view answer) {
  if (code::extract_program(answer, "python").found) return std::nullopt;
  std::string_view program = answer;
  if (const std::size_t fence = answer.find("```"); fence != std::string_view::npos) {
    const std::size_t line = answer.find('\n', fence);
    program = line == std::string_view::npos ? std::string_view() : answer.substr(line + 1);
  } else if (program.starts_with(' ') || program.starts_with('\t')) {
    // A function's body goes on until something stands at the margin; a program of its own is taken whole.
    for (std::size_t at = program.find('\n'); at != std::string_view::npos; at = program.find('\n', at + 1)) {
      const char next = at + 1 < program.size() ? program[at + 1] : '\n';
      if (next == ' ' || next == '\t' || next == '\n' || next == '\r') continue;
      program = program.substr(0, at);
      break;
    }
  }
  return std::string(program);
}

}  // namespace r1
