// The arguments of an instruction, read with errors that name them; and what rules of several files share.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "rewards/instructions/rules.h"

namespace r1::instructions {

class Arguments {
 public:
  Arguments(std::string id, nlohmann::json object) : id_(std::move(id)), object_(std::move(object)) {}
  std::string text(const char* name) const {
    const auto& v = at(name);
    if (!v.is_string() || v.get_ref<const std::string&>().empty()) fail(name, "a text");
    return v.get<std::string>();
  }
  int number(const char* name) const {
    const auto& v = at(name);
    if (!v.is_number() || v.get<double>() != static_cast<double>(static_cast<int>(v.get<double>())) || v.get<double>() < 0)
      fail(name, "a whole number of at least 0");
    return static_cast<int>(v.get<double>());
  }
  std::vector<std::string> texts(const char* name) const {
    const auto& v = at(name);
    if (!v.is_array() || v.empty()) fail(name, "a list of texts");
    std::vector<std::string> out;
    for (const auto& one : v) {
      if (!one.is_string() || one.get_ref<const std::string&>().empty()) fail(name, "a list of texts");
      out.push_back(one.get<std::string>());
    }
    return out;
  }
  // "at least" n or "less than" n.
  std::function<bool(int)> relation(const char* relation_name, const char* count_name) const {
    const std::string word = text(relation_name);
    const int n = number(count_name);
    if (word == "at least") return [n](int count) { return count >= n; };
    if (word == "less than") return [n](int count) { return count < n; };
    fail(relation_name, "\"at least\" or \"less than\"");
  }

 private:
  const nlohmann::json& at(const char* name) const {
    const auto it = object_.is_object() ? object_.find(name) : object_.end();
    if (!object_.is_object() || it == object_.end() || it->is_null()) throw DataError(message(id_, ": the argument '", name, "' is missing"));
    return *it;
  }
  [[noreturn]] void fail(const char* name, const char* wanted) const {
    throw DataError(message(id_, ": '", name, "' must be ", wanted, ", it is ", at(name).dump().substr(0, 60)));
  }
  std::string id_;
  nlohmann::json object_;
};

using RuleMaker = Rule (*)(const Arguments&);
struct RuleRow {
  const char* id;
  RuleMaker make;
};
// keywords, language, length_constraints, startend, change_case, punctuation / detectable_content, detectable_format, combination
std::vector<RuleRow> text_rules();
std::vector<RuleRow> form_rules();

std::vector<std::string> split(const std::string& text, const std::string& by);
std::vector<std::string> lines_of(const std::string& text);

}  // namespace r1::instructions
