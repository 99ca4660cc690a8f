#include "text/row_columns.h"

#include <fstream>

#include "core/error.h"

namespace r1 {

using Json = nlohmann::ordered_json;

std::string where(const Row& row) { return message(row.file, ":", row.line); }

std::string column_names(const Row& row) {
  std::string out;
  for (const auto& [name, value] : row.columns) out += (out.empty() ? "" : ", ") + name;
  return out.empty() ? "none" : out;
}

Json find_column(const Row& row, const std::string& name) {
  if (const auto it = row.columns.find(name); it != row.columns.end()) return Json::parse(it->second);
  const std::size_t dot = name.find('.');
  const auto it = dot == std::string::npos ? row.columns.end() : row.columns.find(name.substr(0, dot));
  if (it == row.columns.end()) return Json(Json::value_t::discarded);
  const Json outer = Json::parse(it->second);
  const auto inner = outer.is_object() ? outer.find(name.substr(dot + 1)) : outer.end();
  return !outer.is_object() || inner == outer.end() ? Json(Json::value_t::discarded) : *inner;
}

std::string text_of(const Json& value) {
  if (value.is_discarded() || value.is_null()) return "";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string content_of(const Json& message_json, const std::string& at) {
  const auto it = message_json.find("content");
  if (it == message_json.end() || it->is_null()) return "";
  if (it->is_string()) return it->get<std::string>();
  std::string out;
  for (const Json& part : *it) {
    if (!part.is_object() || !part.contains("text") || !part["text"].is_string()) {
      throw DataError(
          message(at, ": a message's content must be a text or a list of {\"type\": \"text\", \"text\": ...}"));
    }
    out += part["text"].get<std::string>();
  }
  return out;
}

std::string tools_of(const Row& row) {
  const auto it = row.columns.find("tools");
  if (it == row.columns.end()) return "";
  const Json value = Json::parse(it->second);
  return value.is_null() ? "" : text_of(value);
}

std::string read_template(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), {});
  if (!in.is_open() || in.bad()) throw ConfigError(message("data.template_file: cannot read ", path));
  return text;
}

}  // namespace r1
