#include "core/config_value.h"

#include <algorithm>
#include <charconv>

#include "core/error.h"
#include "core/json_text.h"
#include "core/scalar_text.h"

namespace r1 {

const ConfigValue* ConfigValue::find(std::string_view key) const {
  for (const auto& [name, value] : entries) {
    if (name == key) return &value;
  }
  return nullptr;
}

ConfigValue* ConfigValue::find(std::string_view key) {
  return const_cast<ConfigValue*>(std::as_const(*this).find(key));
}

ConfigValue ConfigValue::scalar(std::string text, bool quoted, Origin origin) {
  ConfigValue value;
  value.kind = Kind::kScalar;
  value.text = std::move(text);
  value.quoted = quoted;
  value.origin = std::move(origin);
  return value;
}

ConfigValue ConfigValue::map(Origin origin) {
  ConfigValue value;
  value.kind = Kind::kMap;
  value.origin = std::move(origin);
  return value;
}

ConfigValue ConfigValue::list(Origin origin) {
  ConfigValue value = map(std::move(origin));
  value.kind = Kind::kList;
  return value;
}

const char* to_string(ConfigValue::Kind kind) {
  switch (kind) {
    case ConfigValue::Kind::kNull: return "nothing";
    case ConfigValue::Kind::kScalar: return "a single value";
    case ConfigValue::Kind::kList: return "a list";
    case ConfigValue::Kind::kMap: return "a section";
  }
  return "invalid";
}

void merge_defaults(ConfigValue& base, const ConfigValue& defaults) {
  // "rl:" with nothing below it is an empty section, not a wish to drop the preset's.
  if (base.kind == ConfigValue::Kind::kNull && defaults.kind == ConfigValue::Kind::kMap) base = ConfigValue::map(base.origin);
  if (base.kind != ConfigValue::Kind::kMap || defaults.kind != ConfigValue::Kind::kMap) return;
  for (const auto& [key, value] : defaults.entries) {
    if (ConfigValue* own = base.find(key)) {
      merge_defaults(*own, value);
    } else {
      base.entries.emplace_back(key, value);
    }
  }
}

std::string write_json(const ConfigValue& value) {
  std::string out;
  switch (value.kind) {
    case ConfigValue::Kind::kNull: return "null";
    case ConfigValue::Kind::kScalar:
      if (!value.quoted) {
        if (const auto flag = parse_bool(value.text)) return *flag ? "true" : "false";
        if (const auto whole = parse_int(value.text)) return std::to_string(*whole);
        if (const auto number = parse_double(value.text)) return json_number(*number);
      }
      return json_quote(value.text);
    case ConfigValue::Kind::kList:
      for (const auto& item : value.items) out += (out.empty() ? "" : ",") + write_json(item);
      return '[' + out + ']';
    case ConfigValue::Kind::kMap:
      for (const auto& [key, child] : value.entries) out += (out.empty() ? "" : ",") + json_quote(key) + ':' + write_json(child);
      return '{' + out + '}';
  }
  return out;
}

namespace {

using Kind = ConfigValue::Kind;

// Flow lists, flow maps and quoted text are YAML; anything else is taken as it stands, so that "prompt=a: b" is text.
ConfigValue parse_override_value(const std::string& text, const Origin& origin) {
  if (text.empty()) return ConfigValue::scalar("", true, origin);
  if (text == "null" || text == "~") {
    ConfigValue nothing;
    nothing.origin = origin;
    return nothing;
  }
  if (std::string_view("[{\"'").find(text[0]) == std::string_view::npos) return ConfigValue::scalar(text, false, origin);
  ConfigValue value = parse_yaml(text, origin.text, origin.kind);
  const auto stamp = [&](auto&& self, ConfigValue& v) -> void {
    v.origin = origin;
    for (auto& item : v.items) self(self, item);
    for (auto& entry : v.entries) self(self, entry.second);
  };
  stamp(stamp, value);
  return value;
}

ConfigValue& step_into_list(ConfigValue& list, const std::string& part, const std::string& text, const Origin& origin) {
  std::size_t index = 0;
  const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), index);
  if (error != std::errc() || end != part.data() + part.size()) {
    throw ConfigError(message("'", text, "': '", part, "' is no index into a list (count from 0, as in rewards.0.weight=1)"));
  }
  if (index > list.items.size()) {
    throw ConfigError(message("'", text, "': index ", index, " is out of range, the list has ", list.items.size(), " items (set by ",
                              list.origin.text, "); index ", list.items.size(), " appends one"));
  }
  if (index == list.items.size()) {
    list.items.emplace_back();
    list.items.back().origin = origin;
  }
  return list.items[index];
}

}  // namespace

void apply_override(ConfigValue& root, const std::string& text) {
  const auto equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw ConfigError(message("'", text, "' is no override; write key=value, for example rl.steps=100"));
  }
  const bool append = text[equals - 1] == '+';
  const std::string path = text.substr(0, equals - (append ? 1 : 0));
  const Origin origin{Origin::Kind::kCommandLine, "command line: " + text};

  ConfigValue* at = &root;
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find('.', begin), path.size());
    const std::string part = path.substr(begin, end - begin);
    if (part.empty()) throw ConfigError(message("'", text, "': empty name in the key '", path, "'"));
    if (at->kind == Kind::kList) {
      at = &step_into_list(*at, part, text, origin);
    } else {
      if (at->kind == Kind::kScalar) {
        throw ConfigError(message("'", text, "': '", path.substr(0, begin - 1), "' is the single value '", at->text, "' (",
                                  at->origin.text, "), so nothing can be set below it"));
      }
      if (at->kind == Kind::kNull) *at = ConfigValue::map(origin);
      ConfigValue* next = at->find(part);
      if (next == nullptr) {
        at->entries.emplace_back(part, ConfigValue{});
        next = &at->entries.back().second;
        next->origin = origin;
      }
      at = next;
    }
    begin = end + 1;
  }

  ConfigValue value = parse_override_value(text.substr(equals + 1), origin);
  if (!append) {
    *at = std::move(value);
    return;
  }
  if (at->kind == Kind::kNull) *at = ConfigValue::list(origin);
  if (at->kind != Kind::kList) {
    throw ConfigError(message("'", text, "': '", path, "' is ", to_string(at->kind), " (", at->origin.text, "), only a list can be appended to"));
  }
  at->items.push_back(std::move(value));
}

}  // namespace r1
