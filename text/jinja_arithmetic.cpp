// Operators on numbers and strings, and conversion from and to JSON, as Python does them.
#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "text/jinja_value.h"
#include "text/unicode.h"

namespace r1::jinja {
namespace {

bool is_int(const Value& v) { return v.as<bool>() || v.as<std::int64_t>(); }

std::int64_t checked(bool overflow, const std::int64_t& value) {  // a reference: the call's other argument writes it
  if (overflow) throw Failure("an integer does not fit 64 bits");
  return value;
}

std::int64_t power(std::int64_t base, std::int64_t exponent) {
  std::int64_t out = 1;
  for (std::int64_t i = 0; i < exponent; ++i) {
    if (i > 64 && (base == 0 || base == 1 || base == -1)) return base == -1 && exponent % 2 == 0 ? 1 : base;
    out = checked(__builtin_mul_overflow(out, base, &out), out);
  }
  return out;
}

Value integers(std::string_view op, std::int64_t a, std::int64_t b) {
  std::int64_t r = 0;
  if (op == "+") return checked(__builtin_add_overflow(a, b, &r), r);
  if (op == "-") return checked(__builtin_sub_overflow(a, b, &r), r);
  if (op == "*") return checked(__builtin_mul_overflow(a, b, &r), r);
  if (op == "**") return b < 0 ? Value(std::pow(static_cast<double>(a), static_cast<double>(b))) : Value(power(a, b));
  if (b == 0) throw Failure("division by zero");
  if (op == "/") return static_cast<double>(a) / static_cast<double>(b);
  if (b == -1) return op == "%" ? Value(0) : integers("-", 0, a);
  const std::int64_t quotient = a / b - ((a % b != 0 && (a < 0) != (b < 0)) ? 1 : 0);  // towards minus infinity
  return op == "//" ? quotient : a - quotient * b;
}

Value floats(std::string_view op, double a, double b) {
  if (op == "+") return a + b;
  if (op == "-") return a - b;
  if (op == "*") return a * b;
  if (op == "**") return std::pow(a, b);
  if (b == 0) throw Failure("division by zero");
  if (op == "/") return a / b;
  const double rest = std::fmod(a, b);
  const double modulo = rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
  return op == "%" ? modulo : std::floor((a - modulo) / b + 0.5);
}

// "..." % values
std::string format(const std::string& pattern, const Value& values) {
  const List arguments = values.is_tuple() ? *values.list() : List{values};
  std::size_t used = 0;
  std::string out;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '%') {
      out += pattern[i];
      continue;
    }
    std::string spec = "%";
    for (++i; i < pattern.size() && std::string_view("-+ #0123456789.").find(pattern[i]) != std::string_view::npos; ++i)
      spec += pattern[i];
    if (i == pattern.size() || spec.size() > 16) throw Failure("incomplete or too long format");
    const char kind = pattern[i];
    if (kind == '%') {
      out += '%';
      continue;
    }
    if (used == arguments.size()) throw Failure("not enough arguments for format string");
    const Value& v = arguments[used++];
    char buffer[512];
    if (kind == 's' || kind == 'r') {
      const std::string text = kind == 's' ? v.str() : v.repr();
      if (spec.size() == 1) {
        out += text;
        continue;
      }
      std::snprintf(buffer, sizeof buffer, (spec + "s").c_str(), text.c_str());
    } else if (kind == 'd' || kind == 'i' || kind == 'x' || kind == 'X' || kind == 'o') {
      const double* d = v.as<double>();
      std::snprintf(buffer, sizeof buffer, (spec + "ll" + kind).c_str(),
                    static_cast<long long>(d ? static_cast<std::int64_t>(*d) : v.integer("a %d argument")));
    } else if (kind == 'f' || kind == 'e' || kind == 'g') {
      std::snprintf(buffer, sizeof buffer, (spec + kind).c_str(), v.number("a %f argument"));
    } else {
      throw Failure(message("format %", kind, " is not implemented"));
    }
    out += buffer;
  }
  if (used < arguments.size()) throw Failure("not all arguments converted during string formatting");
  return out;
}

Value repeated(const Value& v, std::int64_t times) {
  times = std::max<std::int64_t>(times, 0);
  if (times * static_cast<std::int64_t>(v.length()) > 100'000'000) throw Failure("the repetition is too long");
  if (const auto* s = v.as<std::string>()) {
    std::string out;
    for (std::int64_t i = 0; i < times; ++i) out += *s;
    return out;
  }
  List out;
  for (std::int64_t i = 0; i < times; ++i) out.insert(out.end(), v.list()->begin(), v.list()->end());
  return Value(std::move(out), v.is_tuple());
}

void append_escaped(std::string& out, std::string_view text, bool ensure_ascii) {
  char buffer[16];
  out += '"';
  for (const std::string& c : characters(text)) {
    std::size_t pos = 0;
    const char32_t code = unicode::next_char(c, pos);
    switch (code) {
      case '"': out += "\\\""; continue;
      case '\\': out += "\\\\"; continue;
      case '\n': out += "\\n"; continue;
      case '\r': out += "\\r"; continue;
      case '\t': out += "\\t"; continue;
      case '\b': out += "\\b"; continue;
      case '\f': out += "\\f"; continue;
      default: break;
    }
    if (code < 0x20 || (ensure_ascii && code > 0x7E && code < 0x10000)) {
      std::snprintf(buffer, sizeof buffer, "\\u%04x", static_cast<unsigned>(code));
    } else if (ensure_ascii && code >= 0x10000) {
      std::snprintf(buffer, sizeof buffer, "\\u%04x\\u%04x", static_cast<unsigned>(0xD7C0 + (code >> 10)),
                    static_cast<unsigned>(0xDC00 + (code & 0x3FF)));
    } else {
      out += c;
      continue;
    }
    out += buffer;
  }
  out += '"';
}

struct JsonWriter {
  int indent;
  bool sort_keys, ensure_ascii;
  std::string item_separator, key_separator, out;

  void newline(int depth) {
    if (indent >= 0) out += "\n" + std::string(static_cast<std::size_t>(indent * depth), ' ');
  }

  void write(const Value& v, int depth) {
    if (v.is_none()) {
      out += "null";
    } else if (const auto* b = v.as<bool>()) {
      out += *b ? "true" : "false";
    } else if (const auto* d = v.as<double>()) {
      out += std::isnan(*d) ? "NaN" : std::isinf(*d) ? (*d < 0 ? "-Infinity" : "Infinity") : float_text(*d);
    } else if (v.as<std::int64_t>()) {
      out += v.repr();
    } else if (v.is_string()) {
      append_escaped(out, *v.as<std::string>(), ensure_ascii);
    } else if (const List* items = v.list()) {
      if (items->empty()) return void(out += "[]");
      out += '[';
      for (std::size_t i = 0; i < items->size(); ++i) {
        if (i > 0) out += item_separator;
        newline(depth + 1);
        write((*items)[i], depth + 1);
      }
      newline(depth);
      out += ']';
    } else if (const Dict* dict = v.dict()) {
      if (dict->items.empty()) return void(out += "{}");
      auto entries = dict->items;
      if (sort_keys)
        std::stable_sort(entries.begin(), entries.end(),
                         [](const auto& a, const auto& b) { return compare(a.first, b.first) < 0; });
      out += '{';
      for (std::size_t i = 0; i < entries.size(); ++i) {
        if (i > 0) out += item_separator;
        newline(depth + 1);
        const Value& key = entries[i].first;  // other keys than strings are written as JSON inside quotes
        append_escaped(out, key.is_string() ? *key.as<std::string>() : to_json(key), ensure_ascii);
        out += key_separator;
        write(entries[i].second, depth + 1);
      }
      newline(depth);
      out += '}';
    } else {
      throw Failure(message("Object of type ", v.type_name(), " is not JSON serializable"));
    }
  }
};

Value convert(const nlohmann::ordered_json& j) {
  using Type = nlohmann::json::value_t;
  switch (j.type()) {
    case Type::boolean: return j.get<bool>();
    case Type::number_integer: return j.get<std::int64_t>();
    case Type::number_unsigned: {
      const auto u = j.get<std::uint64_t>();
      return u <= INT64_MAX ? Value(static_cast<std::int64_t>(u)) : Value(static_cast<double>(u));
    }
    case Type::number_float: return j.get<double>();
    case Type::string: return j.get<std::string>();
    case Type::array: {
      List items;
      for (const auto& e : j) items.push_back(convert(e));
      return items;
    }
    case Type::object: {
      Dict dict;
      for (const auto& [key, value] : j.items()) dict.items.emplace_back(key, convert(value));
      return dict;
    }
    default: return Value();
  }
}

}  // namespace

Value arithmetic(std::string_view op, const Value& a, const Value& b) {
  for (const Value* v : {&a, &b}) {
    if (v->is_undefined()) throw Failure(message("'", v->as<Undefined>()->name, "' is undefined"));
  }
  if (is_int(a) && is_int(b)) return integers(op, a.integer(""), b.integer(""));
  if (a.is_number() && b.is_number()) return floats(op, a.number(""), b.number(""));
  if (op == "%" && a.is_string()) return format(*a.as<std::string>(), b);
  if (op == "+" && a.is_string() && b.is_string()) return *a.as<std::string>() + *b.as<std::string>();
  if (op == "+" && a.list() && b.list() && a.is_tuple() == b.is_tuple()) {
    List out = *a.list();
    out.insert(out.end(), b.list()->begin(), b.list()->end());
    return Value(std::move(out), a.is_tuple());
  }
  if (op == "*" && (a.is_string() || a.list()) && is_int(b)) return repeated(a, b.integer(""));
  if (op == "*" && (b.is_string() || b.list()) && is_int(a)) return repeated(b, a.integer(""));
  throw Failure(message("'", op, "' does not work between '", a.type_name(), "' and '", b.type_name(), "'"));
}

std::string to_json(const Value& v, int indent, bool sort_keys, bool ensure_ascii, const std::string& item_separator,
                    const std::string& key_separator) {
  JsonWriter w{indent,        sort_keys,
               ensure_ascii,  item_separator.empty() ? (indent >= 0 ? "," : ", ") : item_separator,
               key_separator, ""};
  w.write(v, 0);
  return w.out;
}

Value from_json(std::string_view text, const char* what) {
  try {
    return convert(nlohmann::ordered_json::parse(text));
  } catch (const nlohmann::json::exception& e) {
    throw DataError(message(what, " is no valid JSON: ", e.what()));
  }
}

}  // namespace r1::jinja
