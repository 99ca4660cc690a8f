// The section audit:.
#include <algorithm>
#include <array>
#include <set>

#include "core/error.h"
#include "recipes/recipe.h"

namespace r1::detail {
namespace {

// Rewards that say nothing of whether an answer is right.
bool only_form(std::string_view name) {
  static const std::set<std::string_view> kForm = {"format", "tag_count", "language", "length", "overlong", "soft_overlong", "repetition"};
  return kForm.contains(name);
}

// Rewards whose right answers are not one gold text: the plain check would be wrong about them.
bool has_rules_of_its_own(std::string_view name) { return name == "countdown" || name == "words_below"; }

bool some_reward_requires_end(const Config& written, std::size_t rewards) {
  for (std::size_t i = 0; i < rewards; ++i)
    if (written.peek(message("rewards.", i, ".require_end")) == "true") return true;
  return false;
}

}  // namespace

void read_audit(ConfigReader reader, const Config& written, const RewardContext& context, Recipe& recipe) {
  AuditSection& out = recipe.audit;
  const double share = reader.get_in<double>("share", 0.25, 0.0, 1.0);
  std::string check = reader.get_choice("check", "auto", std::array<std::string, 5>{"auto", "answer", "code", "rewards", "none"});
  const auto& entries = recipe.rubric->entries();
  const auto any = [&](auto&& test) { return std::any_of(entries.begin(), entries.end(), [&](const Rubric::Entry& e) { return test(e.reward->name()); }); };
  const bool judges_code = any([](std::string_view n) { return n == "code"; });
  const bool automatic = check == "auto";
  if (automatic) check = reader.has("rewards") ? "rewards" : judges_code ? "code" : any(has_rules_of_its_own) ? "none" : "answer";
  if (check == "none" || share == 0) {
    const char* why = check == "none" && automatic ? "countdown and words_below have no second check; set audit.rewards to name one"
                                                   : "share is 0 or check is none, so there is no audit";
    for (const char* key : {"rewards", "code", "ignore", "require_end", "window", "sigmas", "min_rise"}) reader.reject(key, why);
    return;
  }
  std::unique_ptr<AuditCheck> made;
  if (check == "rewards") {
    Rubric rubric = make_rubric(reader.sections("rewards", "name"), context);
    const auto& second = rubric.entries();
    if (std::none_of(second.begin(), second.end(), [](const Rubric::Entry& e) { return e.verdict || e.reward->judges_answer(); }))
      reader.fail("rewards", "none of them judges answers; name one that does, or mark one with verdict: true");
    made = make_rubric_check(std::move(rubric));
  } else {
    reader.reject("rewards", "audit.check is " + check);
  }
  if (check == "answer" || (check == "code" && automatic)) {
    made = make_answer_check(reader.get<bool>("require_end", some_reward_requires_end(written, entries.size())));
  } else {
    reader.reject("require_end", "audit.check is " + check + "; it belongs to answers");
  }
  if (check == "code") {
    ConfigReader code = reader.section("code");
    std::unique_ptr<AuditCheck> first = make_code_check(code);
    made = made ? make_first_of(std::move(first), std::move(made)) : std::move(first);
  } else {
    reader.reject("code", "audit.check is " + check);
  }
  out.auditor = std::make_shared<const Auditor>(std::move(made), share, recipe.trainer.seed);

  std::vector<std::string> ignore;
  for (const Rubric::Entry& e : entries)
    if (only_form(e.reward->name())) ignore.push_back(e.label);
  ignore = reader.get<std::vector<std::string>>("ignore", ignore);
  for (const std::string& label : ignore)
    if (std::none_of(entries.begin(), entries.end(), [&](const Rubric::Entry& e) { return e.label == label; }))
      reader.fail("ignore", message("names '", label, "', which is no reward of this recipe"));
  for (const Rubric::Entry& e : entries)
    if (e.weight > 0 && std::find(ignore.begin(), ignore.end(), e.label) == ignore.end()) out.claims[e.label] = static_cast<double>(e.weight);
  out.watch.window = reader.get_in<int>("window", out.watch.window, 2, 10'000);
  out.watch.sigmas = reader.get_in<double>("sigmas", out.watch.sigmas, 1.0, 100.0);
  out.watch.min_rise = reader.get_in<double>("min_rise", out.watch.min_rise, 0.0, 1.0);
  if (out.claims.empty()) {  // only form is paid: there is nothing to audit
    if (reader.has("share") || reader.has("check")) reader.fail("share", "no reward with a weight says whether an answer is right (audit.ignore leaves out rewards of form); leave audit: out");
    out.auditor.reset();
  }
}

}  // namespace r1::detail
