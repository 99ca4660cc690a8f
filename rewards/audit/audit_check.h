// The second checkers of the reward audit.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/config.h"
#include "core/types.h"
#include "rewards/rubric.h"

namespace r1 {

// A second opinion of one completion.
struct AuditReading {
  std::optional<bool> right;  // none: this check has no opinion
  std::string gold, answer;   // as this check read them
  std::string why;            // a word or sentence
};

class AuditCheck {
 public:
  virtual ~AuditCheck() = default;
  virtual std::string_view name() const = 0;
  // Thread-safe; never throws for what a completion holds.
  virtual AuditReading read(const Prompt& prompt, const Completion& completion) const = 0;
};

// Plain numbers and short texts (rewards/audit/plain_answer.h). require_end: a completion that was cut off is wrong.
std::unique_ptr<AuditCheck> make_answer_check(bool require_end);

// The last fenced program, found by other code than the reward's, against the row's tests in fresh boxes; all must pass.
// Options: held_out (column with tests the reward does not see, "audit_tests"; rows without it are judged again by
// `tests`), and those of the reward `code` but pay. No opinion where a row has no tests or the judge itself fails.
std::unique_ptr<AuditCheck> make_code_check(ConfigReader& options);

// The verdict of other rewards: right if "ok". The rubric must judge answers (or mark one entry by verdict: true).
std::unique_ptr<AuditCheck> make_rubric_check(Rubric rubric);

// The first that has an opinion.
std::unique_ptr<AuditCheck> make_first_of(std::unique_ptr<AuditCheck> first, std::unique_ptr<AuditCheck> second);

}  // namespace r1
