// Methods of strings, lists and mappings, attribute look-up, and global functions.
#include <algorithm>
#include <ctime>
#include <map>

#include "core/error.h"
#include "text/jinja_functions.h"
#include "text/jinja_strings.h"

namespace r1::jinja {
namespace {

using Method = Value (*)(const Value& self, const Arguments& a);

const std::string& self_text(const Value& v) { return *v.as<std::string>(); }

std::string text_argument(const Arguments& a, std::size_t i, const char* name) {
  const Value* v = a.get(i, name);
  if (!v) throw Failure(message("the argument \"", name, "\" is missing"));
  return v->string(name);
}

Value split(const Value& self, const Arguments& a, bool from_right) {
  a.check("split", 2, {"sep", "maxsplit"});
  const Value *separator = a.get(0, "sep"), *most = a.get(1, "maxsplit");
  const std::int64_t limit = most ? most->integer("maxsplit") : -1;
  std::vector<std::string> parts;
  if (!separator || separator->is_none()) {
    parts = split_space(self_text(self), limit, from_right);
  } else {
    const std::string& s = separator->string("the separator");
    if (s.empty()) throw Failure("empty separator");
    parts = split_text(self_text(self), s, limit, from_right);
  }
  List out;
  for (std::string& p : parts) out.emplace_back(std::move(p));
  return out;
}

Value strip(const Value& self, const Arguments& a, bool left, bool right) {
  a.check("strip", 1, {"chars"});
  const Value* chars = a.get(0, "chars");
  return chars && !chars->is_none() ? strip_characters(self_text(self), chars->string("chars"), left, right)
                                    : strip_space(self_text(self), left, right);
}

Value affix(const Value& self, const Arguments& a, bool start) {
  a.check("startswith", 1);
  if (a.positional.empty()) throw Failure("the argument is missing");
  const List options = a.positional[0].is_tuple() ? *a.positional[0].list() : List{a.positional[0]};
  for (const Value& o : options) {
    const std::string& s = o.string("the argument");
    if (start ? self_text(self).starts_with(s) : self_text(self).ends_with(s)) return true;
  }
  return false;
}

// Position in characters, or -1.
std::int64_t find(const Value& self, const Arguments& a, bool last) {
  a.check("find", 1);
  const std::string& text = self_text(self);
  const std::string needle = text_argument(a, 0, "sub");
  const std::size_t at = last ? text.rfind(needle) : text.find(needle);
  return at == std::string::npos ? -1 : static_cast<std::int64_t>(characters(text.substr(0, at)).size());
}

Value justify(const Value& self, const Arguments& a, int side) {
  a.check("justify", 2);
  if (a.positional.empty()) throw Failure("the width is missing");
  const std::string fill = a.positional.size() > 1 ? a.positional[1].string("fillchar") : " ";
  return pad_text(self_text(self), a.positional[0].integer("width"), fill, side);
}

const std::map<std::string_view, Method>& string_methods() {
  static const std::map<std::string_view, Method> methods = {
      {"split", [](const Value& s, const Arguments& a) { return split(s, a, false); }},
      {"rsplit", [](const Value& s, const Arguments& a) { return split(s, a, true); }},
      {"strip", [](const Value& s, const Arguments& a) { return strip(s, a, true, true); }},
      {"lstrip", [](const Value& s, const Arguments& a) { return strip(s, a, true, false); }},
      {"rstrip", [](const Value& s, const Arguments& a) { return strip(s, a, false, true); }},
      {"startswith", [](const Value& s, const Arguments& a) { return affix(s, a, true); }},
      {"endswith", [](const Value& s, const Arguments& a) { return affix(s, a, false); }},
      {"upper", [](const Value& s, const Arguments&) { return Value(upper_text(self_text(s))); }},
      {"lower", [](const Value& s, const Arguments&) { return Value(lower_text(self_text(s))); }},
      {"capitalize", [](const Value& s, const Arguments&) { return Value(capitalize_text(self_text(s))); }},
      {"title", [](const Value& s, const Arguments&) { return Value(title_text(self_text(s))); }},
      {"find", [](const Value& s, const Arguments& a) { return Value(find(s, a, false)); }},
      {"rfind", [](const Value& s, const Arguments& a) { return Value(find(s, a, true)); }},
      {"index",
       [](const Value& s, const Arguments& a) {
         const std::int64_t at = find(s, a, false);
         if (at < 0) throw Failure("substring not found");
         return Value(at);
       }},
      {"count",
       [](const Value& s, const Arguments& a) {
         return Value(split_text(self_text(s), text_argument(a, 0, "sub"), -1, false).size() - 1);
       }},
      {"replace",
       [](const Value& s, const Arguments& a) {
         a.check("replace", 3, {"count"});
         const Value* most = a.get(2, "count");
         return Value(replace_text(self_text(s), text_argument(a, 0, "old"), text_argument(a, 1, "new"),
                                   most ? most->integer("count") : -1));
       }},
      {"join",
       [](const Value& s, const Arguments& a) {
         std::string out;
         bool first = true;
         if (a.positional.empty()) throw Failure("the argument of join is missing");
         for (const Value& v : a.positional[0].iterate()) {
           out += (first ? "" : self_text(s)) + v.string("an item of join");
           first = false;
         }
         return Value(std::move(out));
       }},
      {"splitlines",
       [](const Value& s, const Arguments& a) {
         List out;
         const Value* keep = a.get(0, "keepends");
         for (std::string& line : split_lines(self_text(s), keep && keep->truth())) out.emplace_back(std::move(line));
         return Value(std::move(out));
       }},
      {"removeprefix",
       [](const Value& s, const Arguments& a) {
         const std::string p = text_argument(a, 0, "prefix");
         return Value(self_text(s).starts_with(p) ? self_text(s).substr(p.size()) : self_text(s));
       }},
      {"removesuffix",
       [](const Value& s, const Arguments& a) {
         const std::string p = text_argument(a, 0, "suffix");
         return Value(self_text(s).ends_with(p) ? self_text(s).substr(0, self_text(s).size() - p.size())
                                                : self_text(s));
       }},
      {"ljust", [](const Value& s, const Arguments& a) { return justify(s, a, 1); }},
      {"rjust", [](const Value& s, const Arguments& a) { return justify(s, a, -1); }},
      {"center", [](const Value& s, const Arguments& a) { return justify(s, a, 0); }},
      {"isdigit",
       [](const Value& s, const Arguments&) { return Value(all_characters(self_text(s), CharacterKind::kDigit)); }},
      {"isnumeric",
       [](const Value& s, const Arguments&) { return Value(all_characters(self_text(s), CharacterKind::kNumeric)); }},
      {"isalpha",
       [](const Value& s, const Arguments&) { return Value(all_characters(self_text(s), CharacterKind::kAlpha)); }},
      {"isalnum",
       [](const Value& s, const Arguments&) { return Value(all_characters(self_text(s), CharacterKind::kAlnum)); }},
      {"isspace",
       [](const Value& s, const Arguments&) { return Value(all_characters(self_text(s), CharacterKind::kSpace)); }},
      {"isupper",
       [](const Value& s, const Arguments&) {
         return Value(lower_text(self_text(s)) != self_text(s) && upper_text(self_text(s)) == self_text(s));
       }},
      {"islower",
       [](const Value& s, const Arguments&) {
         return Value(upper_text(self_text(s)) != self_text(s) && lower_text(self_text(s)) == self_text(s));
       }},
      {"format", [](const Value& s, const Arguments& a) { return Value(format_text(self_text(s), a)); }},
  };
  return methods;
}

const std::map<std::string_view, Method>& dict_methods() {
  static const std::map<std::string_view, Method> methods = {
      {"items",
       [](const Value& s, const Arguments&) {
         List out;
         for (const auto& [k, v] : s.dict()->items) out.emplace_back(List{k, v}, true);
         return Value(std::move(out));
       }},
      {"keys", [](const Value& s, const Arguments&) { return Value(s.iterate()); }},
      {"values",
       [](const Value& s, const Arguments&) {
         List out;
         for (const auto& [k, v] : s.dict()->items) out.push_back(v);
         return Value(std::move(out));
       }},
      {"copy", [](const Value& s, const Arguments&) { return Value(Dict(*s.dict())); }},
      {"get",
       [](const Value& s, const Arguments& a) {
         a.check("get", 2, {"default"});
         if (a.positional.empty()) throw Failure("get() needs a key");
         const Value* found = s.dict()->find(a.positional[0]);
         const Value* otherwise = a.get(1, "default");
         return found ? *found : otherwise ? *otherwise : Value();
       }},
  };
  return methods;
}

const std::map<std::string_view, Method>& list_methods() {
  static const std::map<std::string_view, Method> methods = {
      {"index",
       [](const Value& s, const Arguments& a) {
         for (std::size_t i = 0; i < s.list()->size() && !a.positional.empty(); ++i) {
           if (equal((*s.list())[i], a.positional[0])) return Value(i);
         }
         throw Failure("the value is not in the list");
       }},
      {"count",
       [](const Value& s, const Arguments& a) {
         if (a.positional.size() != 1) throw Failure("count() takes one argument");
         return Value(static_cast<std::size_t>(std::count_if(
             s.list()->begin(), s.list()->end(), [&](const Value& v) { return equal(v, a.positional[0]); })));
       }},
      {"copy", [](const Value& s, const Arguments&) { return Value(List(*s.list()), s.is_tuple()); }},
  };
  return methods;
}

Value loop_attribute(const std::shared_ptr<Loop>& loop, const std::string& name) {
  const std::size_t n = loop->items->size(), i = loop->index;
  if (name == "index") return i + 1;
  if (name == "index0") return i;
  if (name == "revindex") return n - i;
  if (name == "revindex0") return n - i - 1;
  if (name == "first") return i == 0;
  if (name == "last") return i + 1 == n;
  if (name == "length") return n;
  if (name == "depth") return 1;  // counts recursive loops only, which are not implemented
  if (name == "depth0") return 0;
  if (name == "previtem") return i > 0 ? (*loop->items)[i - 1] : Value(Undefined{"there is no previous item"});
  if (name == "nextitem") return i + 1 < n ? (*loop->items)[i + 1] : Value(Undefined{"there is no next item"});
  if (name == "cycle") {
    return Function{"cycle", [loop](const Arguments& a) {
      if (a.positional.empty()) throw Failure("no items for cycling given");
      return a.positional[loop->index % a.positional.size()];
    }};
  }
  if (name == "changed") {
    return Function{"changed", [loop](const Arguments& a) {
      const bool same = loop->has_changed && equal(Value(loop->last_changed), Value(a.positional));
      loop->has_changed = true;
      loop->last_changed = a.positional;
      return Value(!same);
    }};
  }
  return Undefined{"loop." + name};
}

}  // namespace

std::optional<Value> find_method(const Value& object, std::string_view name) {
  const auto& methods = object.is_string() ? string_methods() : object.dict() ? dict_methods() : list_methods();
  if (!object.is_string() && !object.dict() && !object.list()) return std::nullopt;
  if (const auto it = methods.find(name); it != methods.end()) {
    return Function{std::string(name), [object, method = it->second](const Arguments& a) { return method(object, a); }};
  }
  const std::string_view forbidden = object.dict()   ? " clear pop popitem setdefault update fromkeys "
                                     : object.list() ? " append clear extend insert pop remove reverse sort "
                                                     : "";
  if (!forbidden.empty() && forbidden.find(" " + std::string(name) + " ") != std::string_view::npos) {
    return Function{std::string(name), [name = std::string(name)](const Arguments&) -> Value {
      throw Failure(message("access to the method \"", name, "\" is unsafe: templates cannot change their input"));
    }};
  }
  return std::nullopt;
}

Value get_attribute(const Value& object, const std::string& name) {
  if (object.is_undefined()) throw Failure(message("'", object.as<Undefined>()->name, "' is undefined"));
  if (const auto* loop = object.loop()) return loop_attribute(*loop, name);
  if (auto method = find_method(object, name)) return *method;
  if (const Dict* d = object.dict() ? object.dict() : object.name_space()) {
    if (const Value* v = d->find(std::string_view(name))) return *v;
  }
  return Undefined{message(object.type_name(), " object has no attribute '", name, "'")};
}

Value get_item(const Value& object, const Value& key) {
  if (object.is_undefined()) throw Failure(message("'", object.as<Undefined>()->name, "' is undefined"));
  const bool integer = key.as<std::int64_t>() || key.as<bool>();
  if ((object.list() || object.is_string()) && integer) {
    std::int64_t i = key.integer("an index");
    const List items = object.is_string() ? object.iterate() : List();
    const List& all = object.is_string() ? items : *object.list();
    if (i < 0) i += static_cast<std::int64_t>(all.size());
    if (i >= 0 && i < static_cast<std::int64_t>(all.size())) return all[static_cast<std::size_t>(i)];
  } else if (const Dict* d = object.dict()) {
    if (const Value* v = d->find(key)) return *v;
  }
  if (key.is_string()) {
    const std::string& name = *key.as<std::string>();
    if (!object.dict()) return get_attribute(object, name);
    if (auto method = find_method(object, name)) return *method;
  }
  return Undefined{
      message(object.type_name(), " object has no element ", key.is_undefined() ? "undefined" : key.repr())};
}

Value get_path(const Value& object, const Value& path, const Value* otherwise) {
  Value current = object;
  if (!path.is_string()) {
    current = get_item(object, path);
    return otherwise && current.is_undefined() ? *otherwise : current;
  }
  for (const std::string& part : split_text(*path.as<std::string>(), ".", -1, false)) {
    const bool number = !part.empty() && part.size() < 18 && part.find_first_not_of("0123456789") == std::string::npos;
    current = get_item(current, number ? Value(static_cast<std::int64_t>(std::stoll(part))) : Value(part));
    if (otherwise && current.is_undefined()) current = *otherwise;
  }
  return current;
}

std::optional<Value> find_global(std::string_view name) {
  if (name == "range") {
    return Function{"range", [](const Arguments& a) {
      a.check("range", 3);
      if (a.positional.empty()) throw Failure("range() needs an argument");
      const bool one = a.positional.size() == 1;
      const std::int64_t begin = one ? 0 : a.positional[0].integer("range"),
                         end = a.positional[one ? 0 : 1].integer("range");
      const std::int64_t step = a.positional.size() > 2 ? a.positional[2].integer("range") : 1;
      if (step == 0) throw Failure("the step of range() is zero");
      List out;
      for (std::int64_t i = begin; step > 0 ? i < end : i > end; i += step) {
        if (out.size() >= 100'000) throw Failure("range() is too long: at most 100000 numbers");
        out.emplace_back(i);
      }
      return Value(std::move(out));
    }};
  }
  if (name == "namespace" || name == "dict") {
    return Function{std::string(name), [is_namespace = name == "namespace"](const Arguments& a) {
      Dict d;
      for (const Value& v : a.positional) {
        if (!v.dict()) throw Failure("expected a mapping");
        for (const auto& [key, value] : v.dict()->items) d.set(key, value);
      }
      for (const auto& [key, value] : a.named) d.set(Value(key), value);
      return is_namespace ? Value(Value::NamespaceRef{std::make_shared<Dict>(std::move(d))}) : Value(std::move(d));
    }};
  }
  if (name == "raise_exception") {
    return Function{"raise_exception", [](const Arguments& a) -> Value {
                      throw Failure(message("the template refuses these messages: ",
                                            a.positional.empty() ? "" : a.positional[0].str()));
                    }};
  }
  if (name == "strftime_now") {
    return Function{"strftime_now", [](const Arguments& a) {
      const std::time_t now = std::time(nullptr);
      std::tm local{};
      localtime_r(&now, &local);
      char text[512];
      const std::string pattern = text_argument(a, 0, "format");
      const std::size_t n = std::strftime(text, sizeof text, pattern.c_str(), &local);
      return Value(std::string(text, n));
    }};
  }
  return std::nullopt;
}

}  // namespace r1::jinja
