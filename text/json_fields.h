// Typed access to the fields of a JSON object, with errors that name the field.
#pragma once

#include <cstdint>
#include <string>

#include <nlohmann/json.hpp>

#include "core/error.h"

namespace r1 {

inline const nlohmann::json& json_field(const nlohmann::json& object, const char* name) {
  const auto it = object.is_object() ? object.find(name) : object.end();
  if (!object.is_object() || it == object.end()) throw DataError(message("field \"", name, "\" is missing"));
  return *it;
}

template <class T>
bool json_is(const nlohmann::json& value) {
  if constexpr (std::is_same_v<T, bool>) return value.is_boolean();
  else if constexpr (std::is_integral_v<T>) return value.is_number_integer();
  else return value.is_string();
}

// A field that must be there. T is bool, an integer type or std::string.
template <class T>
T json_get(const nlohmann::json& object, const char* name) {
  const nlohmann::json& value = json_field(object, name);
  if (!json_is<T>(value))
    throw DataError(message("field \"", name, "\" has the wrong type: ", value.dump().substr(0, 60)));
  return value.get<T>();
}

// The same with a default for an absent or null field.
template <class T>
T json_get(const nlohmann::json& object, const char* name, T otherwise) {
  const auto it = object.find(name);
  if (it == object.end() || it->is_null()) return otherwise;
  return json_get<T>(object, name);
}

// The "type" of a component, or "" where the field is missing.
inline std::string json_type(const nlohmann::json& object) {
  if (!object.is_object())
    throw DataError(message("expected an object with a \"type\", found ", object.dump().substr(0, 60)));
  return json_get<std::string>(object, "type", "");
}

}  // namespace r1
