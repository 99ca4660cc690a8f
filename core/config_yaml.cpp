// Reading and writing the tree of config_value.h; the only file that sees yaml-cpp.
#include <algorithm>
#include <cctype>
#include <map>
#include <optional>
#include <sstream>
#include <utility>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include "core/config_value.h"
#include "core/error.h"
#include "core/scalar_text.h"

namespace r1 {
namespace {

using Kind = ConfigValue::Kind;

constexpr std::size_t kMaxDepth = 32;
constexpr std::size_t kMaxNodes = 200000;  // aliases of aliases multiply

std::string place(const std::string& name, const YAML::Mark& mark) {
  return mark.line < 0 ? name : message(name, ":", mark.line + 1);
}

// Builds the tree from the parser's events. yaml-cpp's own nodes are not used: its LoadAll() of 0.7 runs forever, taking
// memory, on some texts with a bracket too many, and its Load() drops what follows the first document.
class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(const std::string& name, Origin::Kind kind) : name_(name), kind_(kind) {}
  ConfigValue take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { add(ConfigValue{}, mark, anchor); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto it = anchors_.find(anchor);
    if (it == anchors_.end()) throw ConfigError(message(place(name_, mark), ": this alias stands inside what it names"));
    count(it->second.second, mark);
    ConfigValue copy = it->second.first;
    add(std::move(copy), mark, 0);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& text) override {
    add(ConfigValue::scalar(text, tag == "!", {}), mark, anchor);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    begin(ConfigValue::list({}), mark, anchor);
  }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    begin(ConfigValue::map({}), mark, anchor);
  }
  void OnSequenceEnd() override { end(); }
  void OnMapEnd() override { end(); }

 private:
  struct Frame {
    ConfigValue value;
    YAML::Mark mark;
    YAML::anchor_t anchor = 0;
    std::size_t nodes_before = 0;
    std::optional<std::string> key;  // of a map: read, its value is next
    YAML::Mark key_mark = YAML::Mark::null_mark();
  };

  void count(std::size_t nodes, const YAML::Mark& mark) {
    nodes_ += nodes;
    if (nodes_ > kMaxNodes) throw ConfigError(message(place(name_, mark), ": more than ", kMaxNodes, " values"));
  }

  bool expects_key() const { return !frames_.empty() && frames_.back().value.kind == Kind::kMap && !frames_.back().key; }

  void begin(ConfigValue empty, const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (expects_key()) throw ConfigError(message(place(name_, mark), ": a key must be a plain name"));
    if (frames_.size() >= kMaxDepth) throw ConfigError(message(place(name_, mark), ": more than ", kMaxDepth, " levels of nesting"));
    frames_.push_back({std::move(empty), mark, anchor, nodes_, std::nullopt, YAML::Mark::null_mark()});
  }

  void end() {
    Frame frame = std::move(frames_.back());
    frames_.pop_back();
    if (frame.anchor != 0) anchors_[frame.anchor] = {frame.value, nodes_ - frame.nodes_before + 1};
    add(std::move(frame.value), frame.mark, 0);
  }

  void add(ConfigValue value, const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (expects_key()) {
      add_key(value, mark);
      return;
    }
    count(1, mark);
    if (anchor != 0) anchors_[anchor] = {value, 1};
    if (frames_.empty()) {
      root_ = std::move(value);
      root_.origin = {kind_, place(name_, mark)};
      return;
    }
    Frame& parent = frames_.back();
    if (parent.value.kind == Kind::kMap) {
      value.origin = {kind_, place(name_, parent.key_mark)};  // the key's line: an empty value has none of its own
      parent.value.entries.emplace_back(*std::exchange(parent.key, std::nullopt), std::move(value));
    } else {
      value.origin = {kind_, place(name_, mark)};
      parent.value.items.push_back(std::move(value));
    }
  }

  void add_key(const ConfigValue& value, const YAML::Mark& mark) {
    const std::string where = place(name_, mark);
    if (value.kind != Kind::kScalar) throw ConfigError(message(where, ": a key must be a plain name"));
    Frame& frame = frames_.back();
    if (const ConfigValue* earlier = frame.value.find(value.text)) {
      throw ConfigError(message(where, ": key '", value.text, "' is set twice, first at ", earlier->origin.text));
    }
    frame.key = value.text;
    frame.key_mark = mark;
  }

  const std::string& name_;
  const Origin::Kind kind_;
  ConfigValue root_;
  std::vector<Frame> frames_;
  std::map<YAML::anchor_t, std::pair<ConfigValue, std::size_t>> anchors_;  // with the number of values
  std::size_t nodes_ = 0;
};

// Refuses whatever follows the first document.
class NothingMore : public YAML::EventHandler {
 public:
  explicit NothingMore(const std::string& name) : name_(name) {}
  void OnDocumentStart(const YAML::Mark& mark) override { refuse(mark); }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { refuse(mark); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { refuse(mark); }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t, const std::string&) override { refuse(mark); }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override { refuse(mark); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override { refuse(mark); }
  void OnSequenceEnd() override {}
  void OnMapEnd() override {}

 private:
  void refuse(const YAML::Mark& mark) const {
    throw ConfigError(message(place(name_, mark), ": the recipe ends before this; a bracket too many, or a second document ('---')?"));
  }
  const std::string& name_;
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
    std::istringstream in(text);
    YAML::Parser parser(in);
    TreeBuilder builder(name, kind);
    if (!parser.HandleNextDocument(builder)) return ConfigValue{};
    NothingMore nothing(name);
    parser.HandleNextDocument(nothing);
    return builder.take();
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
