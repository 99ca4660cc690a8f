#include "text/jinja_value.h"

#include <charconv>
#include <cmath>

#include "core/error.h"
#include "text/unicode.h"

namespace r1::jinja {
namespace {

// Python compares bool, int and float with each other.
bool as_double(const Value& v, double& out) {
  if (const bool* b = v.as<bool>()) return out = *b, true;
  if (const auto* i = v.as<std::int64_t>()) return out = static_cast<double>(*i), true;
  if (const double* d = v.as<double>()) return out = *d, true;
  return false;
}
bool as_int(const Value& v, std::int64_t& out) {
  if (const bool* b = v.as<bool>()) return out = *b, true;
  if (const auto* i = v.as<std::int64_t>()) return out = *i, true;
  return false;
}

[[noreturn]] void undefined_error(const Value& v) {
  throw Failure(message("'", v.as<Undefined>()->name, "' is undefined"));
}

}  // namespace

const Value* Dict::find(const Value& key) const {
  for (const auto& [k, v] : items) {
    if (equal(k, key)) return &v;
  }
  return nullptr;
}
const Value* Dict::find(std::string_view key) const {
  for (const auto& [k, v] : items) {
    const std::string* s = k.as<std::string>();
    if (s && *s == key) return &v;
  }
  return nullptr;
}
void Dict::set(const Value& key, Value value) {
  for (auto& [k, v] : items) {
    if (equal(k, key)) {
      v = std::move(value);
      return;
    }
  }
  items.emplace_back(key, std::move(value));
}

const Value* Arguments::get(std::size_t index, std::string_view name) const {
  if (index < positional.size()) return &positional[index];
  for (const auto& [key, value] : named) {
    if (key == name) return &value;
  }
  return nullptr;
}
void Arguments::check(const char* function, std::size_t most, std::initializer_list<std::string_view> names) const {
  if (positional.size() > most)
    throw Failure(message(function, "() takes at most ", most, " arguments, was given ", positional.size()));
  for (const auto& [key, value] : named) {
    bool known = false;
    for (const auto& n : names) known |= n == key;
    if (!known) throw Failure(message(function, "() has no argument \"", key, "\""));
  }
}

bool Value::truth() const {
  if (is_none() || is_undefined()) return false;
  if (const auto* b = as<bool>()) return *b;
  if (const auto* i = as<std::int64_t>()) return *i != 0;
  if (const auto* d = as<double>()) return *d != 0;
  if (const auto* s = as<std::string>()) return !s->empty();
  if (list()) return !list()->empty();
  if (dict()) return !dict()->items.empty();
  return true;
}

const char* Value::type_name() const {
  static const char* const names[] = {"NoneType", "Undefined", "bool",      "int",      "float",      "str",
                                      "list",     "dict",      "Namespace", "function", "LoopContext"};
  return is_tuple() ? "tuple" : names[data_.index()];
}

std::string Value::str() const {
  if (const auto* s = as<std::string>()) return *s;
  if (is_undefined()) return "";
  return repr();
}

std::string Value::repr() const {
  if (is_none()) return "None";
  if (is_undefined()) return "Undefined";
  if (const auto* b = as<bool>()) return *b ? "True" : "False";
  if (const auto* i = as<std::int64_t>()) return std::to_string(*i);
  if (const auto* d = as<double>()) return float_text(*d);
  if (const auto* s = as<std::string>()) return quoted(*s);
  std::string out;
  if (const List* items = list()) {
    for (const Value& v : *items) out += (out.empty() ? "" : ", ") + v.repr();
    if (!is_tuple()) return "[" + out + "]";
    return "(" + out + (items->size() == 1 ? ",)" : ")");
  }
  if (const Dict* items = dict() ? dict() : name_space()) {
    for (const auto& [k, v] : items->items) out += (out.empty() ? "" : ", ") + k.repr() + ": " + v.repr();
    return dict() ? "{" + out + "}" : "<Namespace {" + out + "}>";
  }
  throw Failure(message("a value of type ", type_name(), " has no text"));
}

std::int64_t Value::integer(const char* what) const {
  std::int64_t i;
  if (is_undefined()) undefined_error(*this);
  if (!as_int(*this, i)) throw Failure(message(what, " must be an integer, is ", type_name()));
  return i;
}
double Value::number(const char* what) const {
  double d;
  if (is_undefined()) undefined_error(*this);
  if (!as_double(*this, d)) throw Failure(message(what, " must be a number, is ", type_name()));
  return d;
}
const std::string& Value::string(const char* what) const {
  if (is_undefined()) undefined_error(*this);
  if (!is_string()) throw Failure(message(what, " must be a string, is ", type_name()));
  return *as<std::string>();
}

List Value::iterate() const {
  if (is_undefined()) return {};
  if (const List* items = list()) return *items;
  List out;
  if (const Dict* d = dict()) {
    for (const auto& [k, v] : d->items) out.push_back(k);
    return out;
  }
  if (const auto* s = as<std::string>()) {
    for (std::string& c : characters(*s)) out.emplace_back(std::move(c));
    return out;
  }
  throw Failure(message("'", type_name(), "' object is not iterable"));
}

std::size_t Value::length() const {
  if (is_undefined()) return 0;
  if (const List* items = list()) return items->size();
  if (const Dict* d = dict()) return d->items.size();
  if (const auto* s = as<std::string>()) return characters(*s).size();
  throw Failure(message("object of type '", type_name(), "' has no len()"));
}

bool equal(const Value& a, const Value& b) {
  std::int64_t i, j;
  if (as_int(a, i) && as_int(b, j)) return i == j;
  double x, y;
  if (as_double(a, x) && as_double(b, y)) return x == y;
  if (a.is_string() && b.is_string()) return *a.as<std::string>() == *b.as<std::string>();
  if (a.is_none() || a.is_undefined()) return a.is_none() ? b.is_none() : b.is_undefined();
  if (a.list() && b.list()) {
    if (a.is_tuple() != b.is_tuple() || a.list()->size() != b.list()->size()) return false;
    for (std::size_t k = 0; k < a.list()->size(); ++k) {
      if (!equal((*a.list())[k], (*b.list())[k])) return false;
    }
    return true;
  }
  if (a.dict() && b.dict()) {
    if (a.dict()->items.size() != b.dict()->items.size()) return false;
    for (const auto& [key, value] : a.dict()->items) {
      const Value* other = b.dict()->find(key);
      if (!other || !equal(value, *other)) return false;
    }
    return true;
  }
  return same_object(a, b);
}

bool same_object(const Value& a, const Value& b) {
  if (a.list() || b.list()) return a.list() == b.list();
  if (a.dict() || b.dict()) return a.dict() == b.dict();
  if (a.name_space() || b.name_space()) return a.name_space() == b.name_space();
  if (a.function() || b.function()) return a.function() == b.function();
  if (a.loop() || b.loop()) return a.loop() && b.loop() && *a.loop() == *b.loop();
  return std::string_view(a.type_name()) == b.type_name() && equal(a, b);
}

int compare(const Value& a, const Value& b) {
  if (a.is_undefined()) undefined_error(a);
  if (b.is_undefined()) undefined_error(b);
  std::int64_t i, j;
  if (as_int(a, i) && as_int(b, j)) return i < j ? -1 : i > j;
  double x, y;
  if (as_double(a, x) && as_double(b, y)) return x < y ? -1 : x > y;
  if (a.is_string() && b.is_string()) {  // the order of UTF-8 bytes is that of code points
    const int c = a.as<std::string>()->compare(*b.as<std::string>());
    return c < 0 ? -1 : c > 0;
  }
  if (a.list() && b.list() && a.is_tuple() == b.is_tuple()) {
    for (std::size_t k = 0; k < a.list()->size() && k < b.list()->size(); ++k) {
      if (!equal((*a.list())[k], (*b.list())[k])) return compare((*a.list())[k], (*b.list())[k]);
    }
    return compare(Value(a.list()->size()), Value(b.list()->size()));
  }
  throw Failure(message("'", a.type_name(), "' and '", b.type_name(), "' have no order"));
}

bool contains(const Value& container, const Value& item) {
  if (const auto* s = container.as<std::string>())
    return s->find(item.string("the left side of 'in' a string")) != std::string::npos;
  if (const Dict* d = container.dict()) return d->find(item) != nullptr;
  for (const Value& v : container.iterate()) {
    if (equal(v, item)) return true;
  }
  return false;
}

std::vector<std::string> characters(std::string_view s) {
  std::string repaired;
  if (!unicode::is_valid(s)) s = repaired = unicode::repair(s);
  std::vector<std::string> out;
  for (std::size_t pos = 0; pos < s.size();) {
    const std::size_t begin = pos;
    unicode::next_char(s, pos);
    out.emplace_back(s.substr(begin, pos - begin));
  }
  return out;
}

std::string float_text(double x) {
  if (std::isnan(x)) return "nan";
  if (std::isinf(x)) return x < 0 ? "-inf" : "inf";
  char buffer[40];
  const auto shortest = std::to_chars(buffer, buffer + sizeof buffer, x, std::chars_format::scientific);
  const std::string scientific(buffer, shortest.ptr);
  const int exponent = std::stoi(scientific.substr(scientific.find('e') + 1));
  if (exponent < -4 || exponent >= 16) return scientific;  // "1e+16", "1.5e-07": the same form as Python's
  const auto fixed = std::to_chars(buffer, buffer + sizeof buffer, x, std::chars_format::fixed);
  std::string out(buffer, fixed.ptr);
  return out.find('.') == std::string::npos ? out + ".0" : out;
}

std::string quoted(std::string_view s) {
  const char mark = s.find('\'') != std::string_view::npos && s.find('"') == std::string_view::npos ? '"' : '\'';
  std::string out(1, mark);
  char text[12];
  const auto& tables = unicode::Tables::get();
  for (const std::string& c : characters(s)) {
    std::size_t pos = 0;
    const char32_t code = unicode::next_char(c, pos);
    const auto k = tables.category(code);
    const bool hidden = k == unicode::Cc || k == unicode::Cf || k == unicode::Cn || k == unicode::Co ||
                        k == unicode::Zl || k == unicode::Zp || (k == unicode::Zs && code != ' ');
    if (code == '\\' || code == static_cast<char32_t>(mark)) out += '\\' + c;
    else if (code == '\n') out += "\\n";
    else if (code == '\r') out += "\\r";
    else if (code == '\t') out += "\\t";
    else if (!hidden) out += c;
    else {
      std::snprintf(text, sizeof text,
                    code < 0x100     ? "\\x%02x"
                    : code < 0x10000 ? "\\u%04x"
                                     : "\\U%08x",
                    static_cast<unsigned>(code));
      out += text;
    }
  }
  return out + mark;
}

}  // namespace r1::jinja
