// Reading and writing the tree of config_value.h; the only file that sees yaml-cpp.
#include <algorithm>
#include <cctype>

#include <yaml-cpp/yaml.h>

#include "core/config_value.h"
#include "core/error.h"
#include "core/scalar_text.h"

namespace r1 {
namespace {

using Kind = ConfigValue::Kind;

constexpr int kMaxDepth = 32;
constexpr std::size_t kMaxNodes = 200000;  // aliases of aliases multiply

std::string place(const std::string& name, const YAML::Mark& mark) {
  return mark.line < 0 ? name : message(name, ":", mark.line + 1);
}

struct Builder {
  const std::string& name;
  Origin::Kind origin_kind;
  std::size_t nodes = 0;

  // `mark` is the key's: an empty value has no place of its own.
  ConfigValue build(const YAML::Node& node, const YAML::Mark& mark, int depth) {
    const Origin origin{origin_kind, place(name, mark)};
    if (depth > kMaxDepth) throw ConfigError(message(origin.text, ": more than ", kMaxDepth, " levels of nesting"));
    if (++nodes > kMaxNodes) throw ConfigError(message(origin.text, ": more than ", kMaxNodes, " values"));
    ConfigValue value;
    value.origin = origin;
    switch (node.Type()) {
      case YAML::NodeType::Undefined:
      case YAML::NodeType::Null: break;
      case YAML::NodeType::Scalar: value = ConfigValue::scalar(node.Scalar(), node.Tag() == "!", origin); break;
      case YAML::NodeType::Sequence:
        value.kind = Kind::kList;
        for (const auto& item : node) value.items.push_back(build(item, item.Mark().line < 0 ? mark : item.Mark(), depth + 1));
        break;
      case YAML::NodeType::Map:
        value.kind = Kind::kMap;
        for (const auto& entry : node) add_entry(value, entry.first, entry.second, depth);
        break;
    }
    return value;
  }

  void add_entry(ConfigValue& map, const YAML::Node& key, const YAML::Node& value, int depth) {
    const std::string where = place(name, key.Mark());
    if (!key.IsScalar()) throw ConfigError(message(where, ": a key must be a plain name"));
    if (const ConfigValue* earlier = map.find(key.Scalar())) {
      throw ConfigError(message(where, ": key '", key.Scalar(), "' is set twice, first at ", earlier->origin.text));
    }
    map.entries.emplace_back(key.Scalar(), build(value, key.Mark(), depth + 1));
  }
};

bool is_plain_safe(const std::string& text) {
  if (text.empty() || text.front() == ' ' || text.back() == ' ') return false;
  if (!std::isalnum(static_cast<unsigned char>(text[0])) && std::string_view("_./+-~").find(text[0]) == std::string_view::npos) return false;
  if (text == "~" || text[0] == '-' || text[0] == '.' || text[0] == '+') return false;  // null, list mark, document marks, numbers
  for (const char c : text) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && std::string_view("_./+-~@%=() ").find(c) == std::string_view::npos) return false;
  }
  std::string lower = text;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  return lower != "null" && !parse_bool(lower) && !parse_double(lower);
}

std::string double_quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\t': out += "\\t"; break;
      case '\r': out += "\\r"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
          out += "\\x";
          out += "0123456789abcdef"[(c >> 4) & 15];
          out += "0123456789abcdef"[c & 15];
        } else {
          out += c;
        }
    }
  }
  return out + '"';
}

std::string scalar_yaml(const ConfigValue& value) {
  // Unquoted text that reads as a number or bool is one; everything else must come back as the same text.
  if (!value.quoted && (parse_bool(value.text) || parse_double(value.text))) return value.text;
  return is_plain_safe(value.text) ? value.text : double_quoted(value.text);
}

std::string key_yaml(const std::string& key) { return is_plain_safe(key) ? key : double_quoted(key); }

void write_block(const ConfigValue& value, int indent, bool comments, std::string& out);

// Writes a value behind "key:" or "-" that already stands in `out`.
void write_after(const ConfigValue& value, int indent, bool comments, std::string& out) {
  const bool nested_map = value.kind == Kind::kMap && !value.entries.empty();
  const bool nested_list = value.kind == Kind::kList && std::any_of(value.items.begin(), value.items.end(), [](const auto& v) {
    return v.kind == Kind::kMap || v.kind == Kind::kList;
  });
  if (nested_map || nested_list) {
    out += '\n';
    write_block(value, indent, comments, out);
    return;
  }
  out += ' ' + write_inline(value);
  if (comments) out += "  # " + value.origin.text;
  out += '\n';
}

void write_block(const ConfigValue& value, int indent, bool comments, std::string& out) {
  const std::string margin(static_cast<std::size_t>(indent), ' ');
  for (const auto& [key, child] : value.entries) {
    out += margin + key_yaml(key) + ':';
    write_after(child, indent + 2, comments, out);
  }
  for (const auto& item : value.items) {
    out += margin + '-';
    write_after(item, indent + 2, comments, out);
  }
}

}  // namespace

ConfigValue parse_yaml(const std::string& text, const std::string& name, Origin::Kind kind) {
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(text);
    if (documents.size() > 1) {
      throw ConfigError(message(place(name, documents[1].Mark()), ": a second document begins here ('---'); one is allowed"));
    }
    if (documents.empty()) return ConfigValue{};
    return Builder{name, kind}.build(documents[0], documents[0].Mark(), 0);
  } catch (const YAML::Exception& e) {
    throw ConfigError(message(place(name, e.mark), e.mark.line < 0 ? "" : message(":", e.mark.column + 1), ": not valid YAML: ", e.msg));
  }
}

std::string write_yaml(const ConfigValue& root, bool comments) {
  if (root.kind != Kind::kMap && root.kind != Kind::kList) return write_inline(root) + "\n";
  if (root.entries.empty() && root.items.empty()) return write_inline(root) + "\n";
  std::string out;
  write_block(root, 0, comments, out);
  return out;
}

std::string write_inline(const ConfigValue& value) {
  std::string out;
  switch (value.kind) {
    case Kind::kNull: return "null";
    case Kind::kScalar: return scalar_yaml(value);
    case Kind::kList:
      for (const auto& item : value.items) out += (out.empty() ? "" : ", ") + write_inline(item);
      return '[' + out + ']';
    case Kind::kMap:
      for (const auto& [key, child] : value.entries) out += (out.empty() ? "" : ", ") + key_yaml(key) + ": " + write_inline(child);
      return '{' + out + '}';
  }
  return out;
}

}  // namespace r1
