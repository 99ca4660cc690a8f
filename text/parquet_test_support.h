// For tests: the rows of a data file as JSON objects.
#pragma once

#include <string>
#include <vector>

#include "text/dataset.h"

namespace r1::test {

// Json: nlohmann::json, or nlohmann::ordered_json where the order of columns counts.
template <class Json> std::vector<Json> rows_of(const std::string& path) {
  DatasetOptions o;
  o.paths = {path};
  std::vector<Json> out;
  for (const Row& row : read_rows(o)) {
    Json& j = out.emplace_back(Json::object());
    for (const auto& [name, text] : row.columns) j[name] = Json::parse(text);
  }
  return out;
}

}  // namespace r1::test
