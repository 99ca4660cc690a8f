#include "rewards/audit/audit_check.h"

#include <utility>
#include <vector>

#include "core/error.h"
#include "rewards/audit/plain_answer.h"
#include "rewards/factory.h"

namespace r1 {
namespace {

bool opens_think(const Prompt& prompt) {
  const auto end = prompt.text.find_last_not_of(" \t\r\n");
  return end != prompt.text.npos && std::string_view(prompt.text).substr(0, end + 1).ends_with("<think>");
}

class AnswerCheck : public AuditCheck {
 public:
  explicit AnswerCheck(bool require_end) : require_end_(require_end) {}
  std::string_view name() const override { return "answer"; }
  AuditReading read(const Prompt& prompt, const Completion& c) const override {
    AuditReading out;
    const auto gold = audit::plain_gold(prompt.reference);
    if (!gold) {
      out.why = "gold_not_plain";
      return out;
    }
    out.gold = gold->text;
    const auto answer = audit::plain_answer(c.text, *gold, opens_think(prompt));
    if (answer) out.answer = answer->text;
    const bool cut = require_end_ && c.stop != StopReason::kEos && c.stop != StopReason::kStop;
    out.right = answer && !cut && audit::plain_equal(*gold, *answer);
    out.why = cut ? "cut_off" : !answer ? "no_answer" : *out.right ? "equal" : "different";
    return out;
  }

 private:
  bool require_end_;
};

// The text between the last line of ``` and the fence before it. No tags, no languages: the last block is the program.
std::optional<std::string> last_block(std::string_view text) {
  if (const auto closed = text.rfind("</think>"); closed != text.npos) text.remove_prefix(closed + 8);
  const auto close = text.rfind("\n```");
  if (close == text.npos) return std::nullopt;
  const auto open = text.substr(0, close).rfind("```");
  if (open == text.npos) return std::nullopt;
  const auto body = text.find('\n', open);
  if (body > close) return std::string();
  return std::string(text.substr(body + 1, close - body));
}

class CodeCheck : public AuditCheck {
 public:
  explicit CodeCheck(ConfigReader& o) {
    o.reject("pay", "an audited program passes all tests or is wrong");
    held_out_ = o.get<std::string>("held_out", "audit_tests");
    tests_ = o.get<std::string>("tests", "tests");
    reward_ = make_reward("code", o);
  }
  std::string_view name() const override { return "code"; }
  AuditReading read(const Prompt& prompt, const Completion& c) const override {
    AuditReading out;
    SampleGroup group{prompt, {c}};
    if (const auto it = prompt.columns.find(held_out_); it != prompt.columns.end()) group.prompt.columns[tests_] = it->second;
    if (!group.prompt.columns.contains(tests_) || !reward_->check_prompt(group.prompt).empty()) {
      out.why = "no_tests";
      return out;
    }
    const auto program = last_block(c.text);
    if (!program) {
      out.right = false;
      out.why = "no_program";
      return out;
    }
    group.prompt.text.clear();  // the block stands alone, no think block is open
    group.completions[0].text = "```\n" + *program + "\n```";
    RewardResult result;
    reward_->score(group, {&result, 1});
    out.why = result.detail;
    if (const auto it = result.columns.find("code_passed"); it != result.columns.end()) out.answer = it->second;
    if (result.verdict != Verdict::kError && result.verdict != Verdict::kAbstain) out.right = result.verdict == Verdict::kCorrect;
    return out;
  }

 private:
  std::string held_out_, tests_;
  std::unique_ptr<RewardFunction> reward_;
};

class RubricCheck : public AuditCheck {
 public:
  explicit RubricCheck(Rubric rubric) : rubric_(std::move(rubric)) {}
  std::string_view name() const override { return "rewards"; }
  AuditReading read(const Prompt& prompt, const Completion& c) const override {
    const Score s = rubric_.score(SampleGroup{prompt, {c}}).front();
    AuditReading out;
    out.why = s.detail;
    const auto column = [&](const char* key) { const auto it = s.columns.find(key); return it == s.columns.end() ? std::string() : it->second; };
    out.gold = column("gold_parsed");
    out.answer = column("answer_parsed");
    if (s.verdict != Verdict::kAbstain && s.verdict != Verdict::kError) out.right = s.verdict == Verdict::kCorrect;
    return out;
  }

 private:
  Rubric rubric_;
};

class FirstOf : public AuditCheck {
 public:
  FirstOf(std::unique_ptr<AuditCheck> first, std::unique_ptr<AuditCheck> second) : first_(std::move(first)), second_(std::move(second)) {}
  std::string_view name() const override { return first_->name(); }
  AuditReading read(const Prompt& prompt, const Completion& c) const override {
    AuditReading out = first_->read(prompt, c);
    return out.right ? out : second_->read(prompt, c);
  }

 private:
  std::unique_ptr<AuditCheck> first_, second_;
};

}  // namespace

std::unique_ptr<AuditCheck> make_answer_check(bool require_end) { return std::make_unique<AnswerCheck>(require_end); }
std::unique_ptr<AuditCheck> make_code_check(ConfigReader& options) { return std::make_unique<CodeCheck>(options); }
std::unique_ptr<AuditCheck> make_rubric_check(Rubric rubric) { return std::make_unique<RubricCheck>(std::move(rubric)); }
std::unique_ptr<AuditCheck> make_first_of(std::unique_ptr<AuditCheck> first, std::unique_ptr<AuditCheck> second) {
  return std::make_unique<FirstOf>(std::move(first), std::move(second));
}

}  // namespace r1
