// Filters, tests, methods and global functions of the template language.
#pragma once

#include <optional>
#include <string_view>

#include "text/jinja_value.h"

namespace r1::jinja {

bool is_filter(std::string_view name);
bool is_test(std::string_view name);
// Throw Failure.
Value apply_filter(std::string_view name, const Value& input, const Arguments& arguments);
bool apply_test(std::string_view name, const Value& input, const Arguments& arguments);
// A bound method of a string, list or mapping; nothing if there is none of this name.
std::optional<Value> find_method(const Value& object, std::string_view name);
// range, dict, namespace, raise_exception, strftime_now; nothing for another name.
std::optional<Value> find_global(std::string_view name);

// value.name and value[key] as jinja2's getattr and getitem: an undefined value where nothing is found.
Value get_attribute(const Value& object, const std::string& name);
Value get_item(const Value& object, const Value& key);
// "a.b.0" as the filters map, selectattr, sort take it; `otherwise`, if given, stands in at every undefined step.
Value get_path(const Value& object, const Value& path, const Value* otherwise = nullptr);

}  // namespace r1::jinja
