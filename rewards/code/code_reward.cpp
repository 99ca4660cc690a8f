#include "rewards/code/code_reward.h"

#include <algorithm>
#include <mutex>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/log.h"
#include "rewards/code/build_cache.h"
#include "rewards/code/checker_json.h"
#include "rewards/code/code_json.h"
#include "rewards/code/extract_program.h"
#include "rewards/code/isolation.h"
#include "rewards/code/toolchain.h"
#include "rewards/completion_text.h"

namespace r1 {
namespace {

// Once a process: what holds here, before anything runs.
void tell_guarantees() {
  static std::once_flag once;
  std::call_once(once, [] {
    for (const std::string& line : code::host_guarantees().lines()) log_info("code.guarantee", {{"text", "code runner: " + line}});
  });
}

class CodeReward : public RewardFunction {
 public:
  explicit CodeReward(ConfigReader& o) {
    column_ = o.get<std::string>("tests", "tests");
    checker_column_ = o.get<std::string>("checker", "checker");
    language_ = o.get<std::string>("language", "python");
    if (!code::find_language(language_)) o.fail("language", message("the code runner knows no language '", language_, "'"));
    all_ = o.get_choice("pay", "fraction", std::vector<std::string>{"fraction", "all"}) == "all";
    tolerance_ = o.get_in<double>("tolerance", 0.0, 0.0, 1.0);
    require_end_ = o.get<bool>("require_end", false);
    if (o.get<bool>("allow_unisolated", false)) code::allow_unisolated(true);
    const auto required = o.get<std::vector<std::string>>("require", {});
    for (const std::string& name : required)
      if (const auto names = code::guarantee_names(); std::find(names.begin(), names.end(), name) == names.end())
        o.fail("require", message("'", name, "' is no guarantee; there are namespaces, seccomp, landlock, control_group, other_user, warm_python"));
    if (const std::string missing = code::host_guarantees().missing(required); !missing.empty())
      o.fail("require", message("this host does not give ", missing, ". Run where it does, or take it off the list"));
    code::BuildCache::Options cache;
    cache.folder = o.get<std::string>("cache", "");
    cache.disk_mb = o.get_in<std::int64_t>("cache_mb", cache.disk_mb, 1, 1 << 20);
    if (!cache.folder.empty()) code::set_build_cache(cache);
    tell_guarantees();
    ConfigReader l = o.section("limits");
    const auto read = [&](const char* key, std::int64_t& value) { value = l.get_in<std::int64_t>(key, value, 1, 3'600'000); };
    read("wall_ms", limits_.wall_ms);
    read("cpu_ms", limits_.cpu_ms);
    read("memory_mb", limits_.memory_mb);
    read("processes", limits_.processes);
    read("file_mb", limits_.file_mb);
    read("output_kb", limits_.output_kb);
  }
  std::string_view name() const override { return "code"; }
  bool judges_answer() const override { return true; }

  std::string check_prompt(const Prompt& prompt) const override {
    try {
      const auto tests = tests_of(prompt);
      const code::Language* language = code::find_language(language_of(prompt));
      if (!language) return message("the code runner knows no language '", language_of(prompt), "'");
      if (!language->installed()) return message("no toolchain for ", language->name, " in /usr");
      const code::Checker checker = checker_of(prompt);
      if (!checker.program.empty() && !code::find_language(checker.language)->installed())
        return message("no toolchain for the checker's language ", checker.language);
      for (const code::TestCase& t : tests)
        if ((!t.call.empty() || !t.asserts.empty()) && language->name != "python") return "function-call tests are judged in Python only";
      code::require_isolation();
    } catch (const Error& e) {
      return e.what();
    }
    return {};
  }

  void score(const SampleGroup& group, std::span<RewardResult> out) const override {
    code::require_isolation();
    code::Submission s;
    try {
      s.tests = tests_of(group.prompt);
      s.checker = checker_of(group.prompt);
    } catch (const DataError& e) {
      for (RewardResult& r : out) r.detail = message("no_tests: ", e.what());  // abstains
      return;
    }
    s.language = language_of(group.prompt);
    s.tolerance = tolerance_;
    s.limits = limits_;
    s.stop_at_first = all_;
    const bool prefilled = prompt_opens_think(group.prompt);
    for (std::size_t i = 0; i < out.size(); ++i) judge_one(group.completions[i], prefilled, s, out[i]);
  }

 private:
  void judge_one(const Completion& c, bool prefilled, code::Submission& s, RewardResult& out) const {
    const AnswerRegion region = after_think(c.text, prefilled);
    code::Extracted found = code::extract_program(region.text, s.language);
    out.value = 0.f;
    out.verdict = Verdict::kUnparsed;
    if (require_end_ && !ended(c)) return set(out, Verdict::kWrong, "truncated");
    if (!region.closed) return set(out, Verdict::kUnparsed, "think_not_closed");
    if (!found.found) return set(out, Verdict::kUnparsed, "no_program");
    s.program = std::move(found.program);
    const code::Judgement j = code::judge(s);
    out.columns["code_verdict"] = to_string(j.verdict);
    out.columns["code_passed"] = message(j.passed, "/", j.total);
    if (!j.reason.empty()) out.columns["code_reason"] = j.reason;
    if (j.verdict == code::CodeVerdict::kInternalError) {  // nothing is known of the program: neither paid nor punished
      out.value.reset();
      return set(out, Verdict::kError, "internal_error");
    }
    const bool accepted = j.verdict == code::CodeVerdict::kAccepted;
    out.value = accepted ? 1.f : all_ ? 0.f : static_cast<float>(j.passed) / static_cast<float>(j.total);
    set(out,
        accepted                                             ? Verdict::kCorrect
        : j.verdict == code::CodeVerdict::kTimeLimit ? Verdict::kTimeout
                                                             : Verdict::kWrong,
        accepted ? "ok" : to_string(j.verdict));
  }
  static void set(RewardResult& out, Verdict verdict, std::string_view detail) {
    out.verdict = verdict;
    out.detail = detail;
  }
  std::vector<code::TestCase> tests_of(const Prompt& prompt) const {
    const auto it = prompt.columns.find(column_);
    if (it == prompt.columns.end()) throw DataError(message("no column '", column_, "' with the tests"));
    return code::tests_from_json(it->second);
  }
  code::Checker checker_of(const Prompt& prompt) const {
    const auto it = prompt.columns.find(checker_column_);
    if (it == prompt.columns.end() || it->second.empty() || it->second == "null") return {};
    return code::checker_from_json(it->second);
  }
  std::string language_of(const Prompt& prompt) const {
    const auto it = prompt.columns.find("language");
    if (it == prompt.columns.end()) return language_;
    const auto json = nlohmann::json::parse(it->second, nullptr, false);
    return json.is_string() ? json.get<std::string>() : language_;
  }

  std::string column_, checker_column_, language_;
  code::Limits limits_;
  double tolerance_ = 0;
  bool all_ = false, require_end_ = false;
};

}  // namespace

std::unique_ptr<RewardFunction> make_code_reward(ConfigReader& options) { return std::make_unique<CodeReward>(options); }

}  // namespace r1
