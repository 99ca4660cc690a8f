// Private to data readers (includes the JSON library): columns of a row, messages, template files.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

#include "text/dataset.h"

namespace r1 {

// "file:line", for errors.
std::string where(const Row& row);
std::string column_names(const Row& row);  // "a, b", or "none"

// A column, or "column.field" inside one; absent gives a discarded value.
nlohmann::ordered_json find_column(const Row& row, const std::string& name);
// A text as it is, null and absent as "", anything else as JSON.
std::string text_of(const nlohmann::ordered_json& value);
// A message's text: a string, or parts of type "text". Throws DataError naming `at`.
std::string content_of(const nlohmann::ordered_json& message, const std::string& at);
// The row's column `tools` as the chat template takes it: a list, or a list as JSON text; "" if there is none.
std::string tools_of(const Row& row);

std::string read_template(const std::string& path);  // throws ConfigError

}  // namespace r1
