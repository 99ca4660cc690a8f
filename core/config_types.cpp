#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "core/config.h"
#include "core/config_recorder.h"
#include "core/error.h"
#include "core/scalar_text.h"
#include "core/suggest.h"

namespace r1 {

using Kind = ConfigValue::Kind;

namespace {

template <class T> struct IsVector : std::false_type {};
template <class T> struct IsVector<std::vector<T>> : std::true_type {};

template <class T>
const char* expected() {
  if constexpr (std::is_same_v<T, bool>) return "true or false";
  else if constexpr (std::is_floating_point_v<T>) return "a number";
  else if constexpr (std::is_integral_v<T>) return "a whole number";
  else return "a text";
}

// For ConfigRecorder, in a reader's words.
template <class T>
std::string type_name() {
  if constexpr (IsVector<T>::value) return "list of " + type_name<typename T::value_type>();
  else if constexpr (std::is_same_v<T, std::filesystem::path>) return "path";
  else return std::string(expected<T>()).substr(std::string_view(expected<T>()).starts_with("a ") ? 2 : 0);
}

template <class T>
ConfigValue to_value(const T& v, const Origin& origin);

template <class T>
void note(const std::string& path, const T* fallback, bool required) {
  ConfigRecorder* recorder = ConfigRecorder::current();
  if (recorder == nullptr) return;
  ConfigQuestion& question = recorder->at(path);
  question.type = type_name<T>();
  question.required = question.required || required;
  if (fallback != nullptr) question.fallback = write_inline(to_value<T>(*fallback, Origin{}));
}

template <class T>
std::optional<T> narrow(const ConfigValue& value) {
  if (value.kind != Kind::kScalar) return std::nullopt;
  if constexpr (std::is_same_v<T, std::string>) return value.text;
  else if constexpr (std::is_same_v<T, std::filesystem::path>) return std::filesystem::path(value.text);
  else if (value.quoted) return std::nullopt;
  else if constexpr (std::is_same_v<T, bool>) return parse_bool(value.text);
  else if constexpr (std::is_floating_point_v<T>) {
    const auto number = parse_double(value.text);
    if (!number) return std::nullopt;
    const T result = static_cast<T>(*number);
    if (!std::isfinite(result) && std::isfinite(*number)) return std::nullopt;
    return result;
  } else if constexpr (std::is_unsigned_v<T>) {
    const auto number = parse_uint(value.text);
    if (!number || *number > std::numeric_limits<T>::max()) return std::nullopt;
    return static_cast<T>(*number);
  } else {
    const auto number = parse_int(value.text);
    if (!number || *number < std::numeric_limits<T>::min() || *number > std::numeric_limits<T>::max()) return std::nullopt;
    return static_cast<T>(*number);
  }
}

template <class T>
ConfigValue to_value(const T& v, const Origin& origin) {
  if constexpr (IsVector<T>::value) {
    ConfigValue list = ConfigValue::list(origin);
    for (const auto& item : v) list.items.push_back(to_value<typename T::value_type>(item, origin));
    return list;
  } else if constexpr (std::is_same_v<T, bool>) {
    return ConfigValue::scalar(v ? "true" : "false", false, origin);
  } else if constexpr (std::is_same_v<T, float>) {
    return ConfigValue::scalar(format_float(v), false, origin);
  } else if constexpr (std::is_same_v<T, double>) {
    return ConfigValue::scalar(format_double(v), false, origin);
  } else if constexpr (std::is_integral_v<T>) {
    return ConfigValue::scalar(std::to_string(v), false, origin);
  } else if constexpr (std::is_same_v<T, std::filesystem::path>) {
    return ConfigValue::scalar(v.string(), true, origin);
  } else {
    return ConfigValue::scalar(v, true, origin);
  }
}

}  // namespace

template <class T>
T ConfigReader::convert(std::string_view key, const ConfigValue& value) const {
  if constexpr (IsVector<T>::value) {
    using Item = typename T::value_type;
    if (value.kind == Kind::kScalar) return T{convert<Item>(key, value)};
    if (value.kind != Kind::kList) fail(key, message("is ", to_string(value.kind), " (", write_inline(value), "), expected a list, each item ", expected<Item>()));
    T result;
    for (const auto& item : value.items) result.push_back(convert<Item>(key, item));
    return result;
  } else {
    if (value.kind == Kind::kNull) fail(key, message("has no value, expected ", expected<T>(), "; write one or remove the line"));
    const auto result = narrow<T>(value);
    if (result) return *result;
    std::string limits;
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
      limits = message(" from ", std::numeric_limits<T>::min(), " to ", std::numeric_limits<T>::max());
    }
    throw ConfigError(message(value.origin.text, ": '", path(key), "' is ", value.quoted ? "the text " : "", write_inline(value),
                              ", expected ", expected<T>(), parse_double(value.text) && !value.quoted ? limits : ""));
  }
}

template <class T>
std::optional<T> ConfigReader::find(std::string_view key) {
  note<T>(path(key), nullptr, false);
  const ConfigValue* v = value(key);
  if (v == nullptr) {
    // Known, but with nothing to show.
    remember(key, ConfigValue{});
    return std::nullopt;
  }
  if (v->kind == Kind::kNull) {
    remember(key, *v);
    return std::nullopt;
  }
  T result = convert<T>(key, *v);
  remember(key, to_value<T>(result, v->origin));
  return result;
}

template <class T>
T ConfigReader::get(std::string_view key, T fallback) {
  note<T>(path(key), &fallback, false);
  const ConfigValue* v = value(key);
  if (v == nullptr) {
    remember(key, to_value<T>(fallback, Origin{}));
    return fallback;
  }
  T result = convert<T>(key, *v);
  remember(key, to_value<T>(result, v->origin));
  return result;
}

template <class T>
T ConfigReader::require(std::string_view key) {
  note<T>(path(key), nullptr, true);
  const ConfigValue* v = value(key);
  if (v == nullptr) fail(key, message("is missing, it needs ", expected<T>()));
  T result = convert<T>(key, *v);
  remember(key, to_value<T>(result, v->origin));
  return result;
}

template <class T>
T ConfigReader::check_range(std::string_view key, T value, T low, T high) const {
  const auto text = [](T x) { return to_value<T>(x, Origin{}).text; };
  const bool no_top = high == std::numeric_limits<T>::max() || (std::numeric_limits<T>::has_infinity && high == std::numeric_limits<T>::infinity());
  if (ConfigRecorder* recorder = ConfigRecorder::current()) recorder->at(path(key)).range = no_top ? "at least " + text(low) : text(low) + " to " + text(high);
  if (value >= low && value <= high) return value;
  fail(key, message("is ", text(value), ", must be ", no_top ? "at least " + text(low) : "between " + text(low) + " and " + text(high)));
}

template <class T>
T ConfigReader::get_in(std::string_view key, T fallback, T low, T high) {
  return check_range(key, get<T>(key, fallback), low, high);
}

template <class T>
T ConfigReader::require_in(std::string_view key, T low, T high) {
  return check_range(key, require<T>(key), low, high);
}

std::string ConfigReader::get_choice(std::string_view key, const std::string& fallback, std::span<const std::string> choices) {
  const std::string choice = get<std::string>(key, fallback);
  if (ConfigRecorder* recorder = ConfigRecorder::current()) recorder->at(path(key)).choices = join_names(choices);
  if (std::find(choices.begin(), choices.end(), choice) != choices.end()) return choice;
  const std::string near = nearest_name(choice, choices);
  fail(key, message("is '", choice, "', must be one of ", join_names(choices), near.empty() ? "" : "; did you mean '" + near + "'?"));
}

#define R1_CONFIG_TYPE(T)                                                  \
  template T ConfigReader::get<T>(std::string_view, T);                    \
  template T ConfigReader::require<T>(std::string_view);                   \
  template std::optional<T> ConfigReader::find<T>(std::string_view);       \
  template std::vector<T> ConfigReader::get<std::vector<T>>(std::string_view, std::vector<T>); \
  template std::vector<T> ConfigReader::require<std::vector<T>>(std::string_view);             \
  template std::optional<std::vector<T>> ConfigReader::find<std::vector<T>>(std::string_view);
#define R1_CONFIG_NUMBER(T)                                                \
  R1_CONFIG_TYPE(T)                                                        \
  template T ConfigReader::get_in<T>(std::string_view, T, T, T);           \
  template T ConfigReader::require_in<T>(std::string_view, T, T);
R1_CONFIG_TYPE(bool)
R1_CONFIG_TYPE(std::string)
R1_CONFIG_TYPE(std::filesystem::path)
R1_CONFIG_NUMBER(int)
R1_CONFIG_NUMBER(std::int64_t)
R1_CONFIG_NUMBER(std::uint32_t)
R1_CONFIG_NUMBER(std::uint64_t)
R1_CONFIG_NUMBER(float)
R1_CONFIG_NUMBER(double)

}  // namespace r1
