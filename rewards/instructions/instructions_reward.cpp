#include "rewards/instructions/instructions_reward.h"

#include <algorithm>

#include "core/suggest.h"
#include "rewards/completion_text.h"
#include "rewards/instructions/arguments.h"

namespace r1 {
namespace instructions {

std::vector<std::string> split(const std::string& text, const std::string& by) {
  std::vector<std::string> parts;
  std::size_t from = 0;
  for (std::size_t at; (at = text.find(by, from)) != std::string::npos; from = at + by.size()) parts.push_back(text.substr(from, at - from));
  parts.push_back(text.substr(from));
  return parts;
}
std::vector<std::string> lines_of(const std::string& text) { return split(text, "\n"); }

std::vector<std::string> rule_ids() {
  std::vector<std::string> ids;
  for (const auto& table : {text_rules(), form_rules()})
    for (const RuleRow& row : table) ids.emplace_back(row.id);
  return ids;
}

Rule make_rule(const std::string& id, const std::string& arguments_json) {
  const Arguments arguments(id, nlohmann::json::parse(arguments_json, nullptr, false));
  for (const auto& table : {text_rules(), form_rules()})
    for (const RuleRow& row : table)
      if (id == row.id) return row.make(arguments);
  const std::string near = nearest_name(id, rule_ids());
  throw DataError(message("there is no instruction '", id, "'", near.empty() ? "" : "; did you mean '" + near + "'?"));
}

std::vector<std::string> loose_forms(const std::string& response) {
  const std::size_t first = response.find('\n'), last = response.rfind('\n');
  const std::string no_first = first == std::string::npos ? "" : response.substr(first + 1);
  const std::string no_last = last == std::string::npos ? "" : response.substr(0, last);
  const std::string neither = first == std::string::npos || first == last ? "" : response.substr(first + 1, last - first - 1);
  std::vector<std::string> forms;
  for (const std::string& form : {response, no_first, no_last, neither}) {
    std::string plain = form;
    std::erase(plain, '*');
    for (const std::string& one : {std::string(trim(form)), std::string(trim(plain))})
      if (!one.empty() && std::find(forms.begin(), forms.end(), one) == forms.end()) forms.push_back(one);
  }
  return forms;
}

}  // namespace instructions

namespace {

using Json = nlohmann::json;
using instructions::Rule;

struct Named {
  std::string id;
  Rule rule;
};

std::vector<Named> rules_of(const Prompt& prompt) {
  const auto column = [&](const char* name) {
    const auto it = prompt.columns.find(name);
    Json value = it == prompt.columns.end() ? Json() : Json::parse(it->second, nullptr, false);
    if (!value.is_array()) throw DataError(message("column '", name, "' must be a list"));
    return value;
  };
  const Json ids = column("instruction_id_list"), arguments = column("kwargs");
  if (ids.empty() || ids.size() != arguments.size()) throw DataError(message(ids.size(), " instructions with ", arguments.size(), " kwargs"));
  std::vector<Named> rules;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (!ids[i].is_string()) throw DataError("column 'instruction_id_list' must be a list of texts");
    const std::string id = ids[i];
    rules.push_back({id, instructions::make_rule(id, arguments[i].dump())});
  }
  return rules;
}

class InstructionsReward : public RewardFunction {
 public:
  explicit InstructionsReward(ConfigReader& o) {
    loose_ = o.get<bool>("loose", false);
    fraction_ = o.get_choice("pay", "all", std::vector<std::string>{"all", "fraction"}) == "fraction";
    after_think_ = o.get<bool>("after_think", true);
  }
  std::string_view name() const override { return "instructions"; }
  bool judges_answer() const override { return true; }

  std::string check_prompt(const Prompt& prompt) const override {
    try {
      rules_of(prompt);
    } catch (const DataError& e) {
      return e.what();
    }
    return {};
  }

  void score(const SampleGroup& group, std::span<RewardResult> out) const override {
    std::vector<Named> rules;
    try {
      rules = rules_of(group.prompt);
    } catch (const DataError& e) {
      for (RewardResult& r : out) r.detail = message("no_instructions: ", e.what());  // abstains
      return;
    }
    const bool prefilled = prompt_opens_think(group.prompt);
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::string& text = group.completions[i].text;
      const AnswerRegion region = after_think_ ? after_think(text, prefilled) : AnswerRegion{text, true};
      judge(rules, region, out[i]);
    }
  }

 private:
  void judge(const std::vector<Named>& rules, const AnswerRegion& region, RewardResult& out) const {
    const std::string response(region.text);
    std::vector<std::string> forms;
    if (region.closed && !trim(response).empty()) forms = loose_ ? instructions::loose_forms(response) : std::vector<std::string>{response};
    std::size_t followed = 0;
    std::string missed;
    for (const Named& n : rules) {
      if (std::any_of(forms.begin(), forms.end(), n.rule)) ++followed;
      else missed += (missed.empty() ? "" : ", ") + n.id;
    }
    const bool all = followed == rules.size();
    out.value = all ? 1.f : fraction_ ? static_cast<float>(followed) / static_cast<float>(rules.size()) : 0.f;
    out.verdict = all ? Verdict::kCorrect : forms.empty() ? Verdict::kUnparsed : Verdict::kWrong;
    out.detail = all ? "ok" : !region.closed ? "think_not_closed" : forms.empty() ? "empty" : "not_followed";
    out.columns["followed"] = message(followed, "/", rules.size());
    if (!missed.empty()) out.columns["not_followed"] = missed;
  }
  bool loose_ = false, fraction_ = false, after_think_ = true;
};

}  // namespace

std::unique_ptr<RewardFunction> make_instructions_reward(ConfigReader& options) { return std::make_unique<InstructionsReward>(options); }

}  // namespace r1
