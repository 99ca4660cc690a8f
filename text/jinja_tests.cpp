// The tests of jinja2: what may stand behind "is".
#include <map>

#include "text/jinja_functions.h"
#include "text/jinja_strings.h"

namespace r1::jinja {
namespace {

using Test = bool (*)(const Value& v, const Arguments& a);

const Value& other(const Arguments& a) {
  if (a.positional.empty()) throw Failure("the test needs an argument");
  return a.positional[0];
}

const std::map<std::string_view, Test>& tests() {
  static const std::map<std::string_view, Test> table = [] {
    std::map<std::string_view, Test> t = {
        {"defined", [](const Value& v, const Arguments&) { return !v.is_undefined(); }},
        {"undefined", [](const Value& v, const Arguments&) { return v.is_undefined(); }},
        {"none", [](const Value& v, const Arguments&) { return v.is_none(); }},
        {"string", [](const Value& v, const Arguments&) { return v.is_string(); }},
        {"number", [](const Value& v, const Arguments&) { return v.is_number(); }},
        {"integer", [](const Value& v, const Arguments&) { return v.as<std::int64_t>() != nullptr; }},
        {"float", [](const Value& v, const Arguments&) { return v.as<double>() != nullptr; }},
        {"boolean", [](const Value& v, const Arguments&) { return v.as<bool>() != nullptr; }},
        {"true", [](const Value& v, const Arguments&) { return v.as<bool>() && *v.as<bool>(); }},
        {"false", [](const Value& v, const Arguments&) { return v.as<bool>() && !*v.as<bool>(); }},
        {"mapping", [](const Value& v, const Arguments&) { return v.dict() != nullptr; }},
        {"sequence",
         [](const Value& v, const Arguments&) { return v.list() || v.is_string() || v.dict() || v.is_undefined(); }},
        {"iterable",
         [](const Value& v, const Arguments&) { return v.list() || v.is_string() || v.dict() || v.is_undefined(); }},
        {"callable", [](const Value& v, const Arguments&) { return v.function() || v.is_undefined(); }},
        {"odd", [](const Value& v, const Arguments&) { return equal(arithmetic("%", v, Value(2)), Value(1)); }},
        {"even", [](const Value& v, const Arguments&) { return equal(arithmetic("%", v, Value(2)), Value(0)); }},
        {"divisibleby",
         [](const Value& v, const Arguments& a) { return equal(arithmetic("%", v, other(a)), Value(0)); }},
        {"==", [](const Value& v, const Arguments& a) { return equal(v, other(a)); }},
        {"!=", [](const Value& v, const Arguments& a) { return !equal(v, other(a)); }},
        {"<", [](const Value& v, const Arguments& a) { return compare(v, other(a)) < 0; }},
        {"<=", [](const Value& v, const Arguments& a) { return compare(v, other(a)) <= 0; }},
        {">", [](const Value& v, const Arguments& a) { return compare(v, other(a)) > 0; }},
        {">=", [](const Value& v, const Arguments& a) { return compare(v, other(a)) >= 0; }},
        {"in", [](const Value& v, const Arguments& a) { return contains(other(a), v); }},
        {"sameas", [](const Value& v, const Arguments& a) { return same_object(v, other(a)); }},
        {"lower", [](const Value& v,
                     const Arguments&) { return lower_text(v.str()) == v.str() && upper_text(v.str()) != v.str(); }},
        {"upper", [](const Value& v,
                     const Arguments&) { return upper_text(v.str()) == v.str() && lower_text(v.str()) != v.str(); }},
        {"filter", [](const Value& v, const Arguments&) { return is_filter(v.str()); }},
        {"test", [](const Value& v, const Arguments&) { return is_test(v.str()); }},
    };
    for (const auto& [alias, name] : {std::pair("eq", "=="),
                                      {"equalto", "=="},
                                      {"ne", "!="},
                                      {"lt", "<"},
                                      {"lessthan", "<"},
                                      {"le", "<="},
                                      {"gt", ">"},
                                      {"greaterthan", ">"},
                                      {"ge", ">="}}) {
      t[alias] = t.at(name);
    }
    return t;
  }();
  return table;
}

}  // namespace

bool is_test(std::string_view name) { return tests().contains(name); }

bool apply_test(std::string_view name, const Value& input, const Arguments& arguments) {
  return tests().at(name)(input, arguments);
}

}  // namespace r1::jinja
