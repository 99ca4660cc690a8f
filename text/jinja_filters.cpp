// Filters of jinja2, with `tojson` as transformers defines it.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "core/error.h"
#include "text/jinja_functions.h"
#include "text/jinja_strings.h"

namespace r1::jinja {
namespace {

using Filter = Value (*)(const Value& v, const Arguments& a);

const Value& needed(const Arguments& a, std::size_t i, const char* name) {
  const Value* v = a.get(i, name);
  if (!v) throw Failure(message("the argument \"", name, "\" is missing"));
  return *v;
}
bool flag(const Arguments& a, std::size_t i, const char* name, bool otherwise = false) {
  const Value* v = a.get(i, name);
  return v ? v->truth() : otherwise;
}

std::int64_t parse_int(const Value& v, std::int64_t otherwise, int base) {
  if (const double* d = v.as<double>()) return std::isfinite(*d) ? static_cast<std::int64_t>(*d) : otherwise;
  if (v.is_number()) return v.integer("");
  if (!v.is_string()) return otherwise;
  std::string s = strip_space(*v.as<std::string>(), true, true);
  std::erase(s, '_');
  if (s.starts_with('+')) s.erase(0, 1);
  std::int64_t value = 0;
  auto r = std::from_chars(s.data(), s.data() + s.size(), value, base);
  if (!s.empty() && r.ec == std::errc() && r.ptr == s.data() + s.size()) return value;
  double real = 0;
  r = std::from_chars(s.data(), s.data() + s.size(), real);
  return !s.empty() && r.ec == std::errc() && r.ptr == s.data() + s.size() && std::isfinite(real)
             ? static_cast<std::int64_t>(real)
             : otherwise;
}

double parse_float(const Value& v, double otherwise) {
  if (v.is_number()) return v.number("");
  if (!v.is_string()) return otherwise;
  std::string s = strip_space(*v.as<std::string>(), true, true);
  if (s.starts_with('+')) s.erase(0, 1);
  double real = 0;
  const auto r = std::from_chars(s.data(), s.data() + s.size(), real);
  return !s.empty() && r.ec == std::errc() && r.ptr == s.data() + s.size() ? real : otherwise;
}

Value to_json_filter(const Value& v, const Arguments& a) {
  a.check("tojson", 5, {"ensure_ascii", "indent", "separators", "sort_keys"});
  // transformers: tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False)
  const Value *indent = a.get(1, "indent"), *separators = a.get(2, "separators");
  std::string item, key = ": ";
  if (separators && !separators->is_none()) {
    const List parts = separators->iterate();
    if (parts.size() != 2) throw Failure("tojson: separators must be two texts");
    item = parts[0].string("a separator");
    key = parts[1].string("a separator");
  }
  const bool lines = indent && !indent->is_none();
  const std::int64_t width = lines ? indent->integer("indent") : -1;
  if (width > 1000) throw Failure("tojson: the indent is too large");
  return to_json(v, static_cast<int>(width), flag(a, 3, "sort_keys"), flag(a, 0, "ensure_ascii"), item, key);
}

Value join(const Value& v, const Arguments& a) {
  a.check("join", 2, {"d", "attribute"});
  const Value *separator = a.get(0, "d"), *attribute = a.get(1, "attribute");
  std::string out;
  bool first = true;
  for (const Value& item : v.iterate()) {
    if (!first && separator) out += separator->str();
    out += (attribute ? get_path(item, *attribute) : item).str();
    first = false;
  }
  return out;
}

Value indent(const Value& v, const Arguments& a) {
  a.check("indent", 3, {"width", "first", "blank"});
  const Value* width = a.get(0, "width");
  std::string pad(4, ' ');
  if (width && width->is_string()) pad = *width->as<std::string>();
  else if (width)
    pad.assign(static_cast<std::size_t>(std::clamp<std::int64_t>(width->integer("width"), 0, 10000)), ' ');
  const bool blank = flag(a, 2, "blank");
  std::string out = flag(a, 1, "first") ? pad : "";
  const auto lines = split_text(v.str(), "\n", -1, false);
  for (std::size_t i = 0; i < lines.size(); ++i)
    out += (i == 0 ? "" : (blank || !lines[i].empty()) ? "\n" + pad : "\n") + lines[i];
  return out;
}

// What sort, unique, min and max compare: an attribute, without regard to case unless asked.
Value key_of(const Value& item, const Value* attribute, bool case_sensitive) {
  Value key = attribute && !attribute->is_none() ? get_path(item, *attribute) : item;
  return !case_sensitive && key.is_string() ? Value(lower_text(*key.as<std::string>())) : key;
}

List sorted(List items, const Value* attribute, bool case_sensitive, bool reverse) {
  std::vector<std::pair<Value, Value>> keyed;
  for (Value& item : items) {
    Value key = key_of(item, attribute, case_sensitive);
    keyed.emplace_back(std::move(key), std::move(item));
  }
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& x, const auto& y) {
    return reverse ? compare(y.first, x.first) < 0 : compare(x.first, y.first) < 0;
  });
  List out;
  for (auto& [key, item] : keyed) out.push_back(std::move(item));
  return out;
}

Value extreme(const Value& v, const Arguments& a, int sign) {
  a.check("min", 2, {"case_sensitive", "attribute"});
  const bool exact = flag(a, 0, "case_sensitive");
  const Value* attribute = a.get(1, "attribute");
  const List items = v.iterate();
  if (items.empty()) return Undefined{"the minimum or maximum of nothing"};
  const Value* best = &items[0];
  for (const Value& item : items) {
    if (sign * compare(key_of(item, attribute, exact), key_of(*best, attribute, exact)) > 0) best = &item;
  }
  return *best;
}

// map(attribute=..., default=...) or map("filter", arguments...)
Value map(const Value& v, const Arguments& a) {
  List out;
  if (const Value* attribute = a.positional.empty() ? a.get(0, "attribute") : nullptr) {
    const Value* otherwise = a.get(1, "default");
    for (const Value& item : v.iterate()) out.push_back(get_path(item, *attribute, otherwise));
    return out;
  }
  const std::string& name = needed(a, 0, "filter").string("the name of a filter");
  if (!is_filter(name)) throw Failure(message("the filter \"", name, "\" is not implemented"));
  const Arguments rest{{a.positional.begin() + 1, a.positional.end()}, a.named};
  for (const Value& item : v.iterate()) out.push_back(apply_filter(name, item, rest));
  return out;
}

// select, reject (by a test) and selectattr, rejectattr (by a test of an attribute).
Value choose(const Value& v, const Arguments& a, bool by_attribute, bool keep) {
  const std::size_t first = by_attribute ? 1 : 0;
  const Value* attribute = by_attribute ? &needed(a, 0, "attribute") : nullptr;
  const Value* test = a.get(first, "test");
  Arguments rest;
  if (a.positional.size() > first + 1)
    rest.positional.assign(a.positional.begin() + static_cast<std::ptrdiff_t>(first) + 1, a.positional.end());
  if (test && !is_test(test->string("the name of a test")))
    throw Failure(message("the test \"", test->str(), "\" is not implemented"));
  List out;
  for (const Value& item : v.iterate()) {
    const Value subject = attribute ? get_path(item, *attribute) : item;
    const bool holds = test ? apply_test(*test->as<std::string>(), subject, rest) : subject.truth();
    if (holds == keep) out.push_back(item);
  }
  return out;
}

Value dictsort(const Value& v, const Arguments& a) {
  a.check("dictsort", 3, {"case_sensitive", "by", "reverse"});
  if (!v.dict()) throw Failure("dictsort needs a mapping");
  const Value* by = a.get(1, "by");
  const Value index(by && by->str() == "value" ? 1 : 0);
  List items;
  for (const auto& [key, value] : v.dict()->items) items.emplace_back(List{key, value}, true);
  return sorted(std::move(items), &index, flag(a, 0, "case_sensitive"), flag(a, 2, "reverse"));
}

Value unique(const Value& v, const Arguments& a) {
  List out, keys;
  for (const Value& item : v.iterate()) {
    Value key = key_of(item, a.get(1, "attribute"), flag(a, 0, "case_sensitive"));
    if (contains(Value(keys), key)) continue;
    keys.push_back(std::move(key));
    out.push_back(item);
  }
  return out;
}

// sorted by the attribute; (grouper, list) pairs
Value groupby(const Value& v, const Arguments& a) {
  const Value& attribute = needed(a, 0, "attribute");
  List out;
  for (const Value& item : sorted(v.iterate(), &attribute, flag(a, 2, "case_sensitive"), false)) {
    Value key = get_path(item, attribute);
    if (!out.empty() && equal((*out.back().list())[0], key)) {
      List members = *(*out.back().list())[1].list();
      members.push_back(item);
      out.back() = Value(List{key, Value(std::move(members))}, true);
    } else {
      out.emplace_back(List{std::move(key), Value(List{item})}, true);
    }
  }
  return out;
}

Value batch(const Value& v, const Arguments& a) {
  const std::int64_t size = needed(a, 0, "linecount").integer("linecount");
  if (size < 1) throw Failure("batch: linecount must be at least 1");
  List out, row;
  for (const Value& item : v.iterate()) {
    if (static_cast<std::int64_t>(row.size()) == size) out.emplace_back(std::exchange(row, List()));
    row.push_back(item);
  }
  const Value* fill = a.get(1, "fill_with");
  while (fill && !fill->is_none() && !row.empty() && static_cast<std::int64_t>(row.size()) < size) row.push_back(*fill);
  if (!row.empty()) out.emplace_back(std::move(row));
  return out;
}

Value escape(const Value& v, const Arguments&) {
  std::string out;
  for (char c : v.str()) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&#34;"; break;
      case '\'': out += "&#39;"; break;
      default: out += c;
    }
  }
  return out;
}

Value round(const Value& v, const Arguments& a) {
  a.check("round", 2, {"precision", "method"});
  const Value *precision = a.get(0, "precision"), *method = a.get(1, "method");
  const std::int64_t digits = precision ? precision->integer("precision") : 0;
  if (digits < -300 || digits > 300) throw Failure("round: the precision is out of range");
  const std::string how = method ? method->str() : "common";
  const double x = v.number("the input of round");
  if (how == "common") {  // Python rounds the decimal expansion, half to even
    if (digits <= 0) {
      const double scale = std::pow(10.0, static_cast<double>(-digits));
      return std::nearbyint(x / scale) * scale;
    }
    char text[700];
    std::snprintf(text, sizeof text, "%.*f", static_cast<int>(digits), x);
    return std::stod(text);
  }
  const double scale = std::pow(10.0, static_cast<double>(digits));
  if (how == "ceil") return std::ceil(x * scale) / scale;
  if (how == "floor") return std::floor(x * scale) / scale;
  throw Failure(message("round: the method \"", how, "\" is unknown"));
}

Value default_value(const Value& v, const Arguments& a) {
  a.check("default", 2, {"default_value", "boolean"});
  const Value* otherwise = a.get(0, "default_value");
  const bool replace = v.is_undefined() || (flag(a, 1, "boolean") && !v.truth());
  return replace ? (otherwise ? *otherwise : Value("")) : v;
}

Value sum(const Value& v, const Arguments& a) {
  const Value *attribute = a.get(0, "attribute"), *start = a.get(1, "start");
  Value total = start ? *start : Value(0);
  for (const Value& item : v.iterate())
    total = arithmetic("+", total, attribute && !attribute->is_none() ? get_path(item, *attribute) : item);
  return total;
}

const std::map<std::string_view, Filter>& filters() {
  static const std::map<std::string_view, Filter> table = [] {
    std::map<std::string_view, Filter> t = {
        {"tojson", to_json_filter},
        {"join", join},
        {"indent", indent},
        {"map", map},
        {"dictsort", dictsort},
        {"unique", unique},
        {"groupby", groupby},
        {"batch", batch},
        {"escape", escape},
        {"round", round},
        {"default", default_value},
        {"sum", sum},
        {"trim",
         [](const Value& v, const Arguments& a) {
           const Value* chars = a.get(0, "chars");
           return chars && !chars->is_none() ? Value(strip_characters(v.str(), chars->string("chars"), true, true))
                                             : Value(strip_space(v.str(), true, true));
         }},
        {"length", [](const Value& v, const Arguments&) { return Value(v.length()); }},
        {"upper", [](const Value& v, const Arguments&) { return Value(upper_text(v.str())); }},
        {"lower", [](const Value& v, const Arguments&) { return Value(lower_text(v.str())); }},
        {"capitalize", [](const Value& v, const Arguments&) { return Value(capitalize_text(v.str())); }},
        {"title", [](const Value& v, const Arguments&) { return Value(title_text(v.str())); }},
        {"replace",
         [](const Value& v, const Arguments& a) {
           const Value* most = a.get(2, "count");
           return Value(replace_text(v.str(), needed(a, 0, "old").str(), needed(a, 1, "new").str(),
                                     most && !most->is_none() ? most->integer("count") : -1));
         }},
        {"string", [](const Value& v, const Arguments&) { return Value(v.str()); }},
        {"safe", [](const Value& v, const Arguments&) { return Value(v.str()); }},
        {"int",
         [](const Value& v, const Arguments& a) {
           const Value *otherwise = a.get(0, "default"), *base = a.get(1, "base");
           return Value(
               parse_int(v, otherwise ? otherwise->integer("default") : 0,
                         base ? static_cast<int>(std::clamp<std::int64_t>(base->integer("base"), 2, 36)) : 10));
         }},
        {"float",
         [](const Value& v, const Arguments& a) {
           const Value* otherwise = a.get(0, "default");
           return Value(parse_float(v, otherwise ? otherwise->number("default") : 0.0));
         }},
        {"abs", [](const Value& v,
                   const Arguments&) { return v.number("the input of abs") < 0 ? arithmetic("*", v, Value(-1)) : v; }},
        {"list", [](const Value& v, const Arguments&) { return Value(v.iterate()); }},
        {"first",
         [](const Value& v, const Arguments&) {
           const List items = v.iterate();
           return items.empty() ? Value(Undefined{"the first of nothing"}) : items.front();
         }},
        {"last",
         [](const Value& v, const Arguments&) {
           const List items = v.iterate();
           return items.empty() ? Value(Undefined{"the last of nothing"}) : items.back();
         }},
        {"reverse",
         [](const Value& v, const Arguments&) {
           List items = v.iterate();
           std::reverse(items.begin(), items.end());
           if (!v.is_string()) return Value(std::move(items));
           std::string out;
           for (const Value& c : items) out += c.str();
           return Value(std::move(out));
         }},
        {"items",
         [](const Value& v, const Arguments& a) {
           if (v.is_undefined()) return Value(List());
           if (!v.dict()) throw Failure("items needs a mapping");
           return find_method(v, "items")->function()->call(a);
         }},
        {"attr",
         [](const Value& v, const Arguments& a) {  // elements of a mapping are no attributes here
           const std::string& name = needed(a, 0, "name").string("name");
           return v.dict() ? find_method(v, name).value_or(Value(Undefined{name})) : get_attribute(v, name);
         }},
        {"sort",
         [](const Value& v, const Arguments& a) {
           return Value(
               sorted(v.iterate(), a.get(2, "attribute"), flag(a, 1, "case_sensitive"), flag(a, 0, "reverse")));
         }},
        {"min", [](const Value& v, const Arguments& a) { return extreme(v, a, -1); }},
        {"max", [](const Value& v, const Arguments& a) { return extreme(v, a, 1); }},
        {"select", [](const Value& v, const Arguments& a) { return choose(v, a, false, true); }},
        {"reject", [](const Value& v, const Arguments& a) { return choose(v, a, false, false); }},
        {"selectattr", [](const Value& v, const Arguments& a) { return choose(v, a, true, true); }},
        {"rejectattr", [](const Value& v, const Arguments& a) { return choose(v, a, true, false); }},
        {"wordcount", [](const Value& v, const Arguments&) { return Value(split_space(v.str(), -1, false).size()); }},
        {"format",
         [](const Value& v, const Arguments& a) { return arithmetic("%", Value(v.str()), Value(a.positional, true)); }},
    };
    for (const auto& [alias, name] : {std::pair("count", "length"), {"e", "escape"}, {"d", "default"}})
      t[alias] = t.at(name);
    return t;
  }();
  return table;
}

}  // namespace

bool is_filter(std::string_view name) { return filters().contains(name); }

Value apply_filter(std::string_view name, const Value& input, const Arguments& arguments) {
  return filters().at(name)(input, arguments);
}

}  // namespace r1::jinja
