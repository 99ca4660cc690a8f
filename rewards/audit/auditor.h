// Asks a second checker about a keyed sample of the completions and notes what it says beside their scores. It changes
// no reward and no verdict.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/types.h"
#include "rewards/audit/audit_check.h"

namespace r1 {

// Columns that audit() adds to Score::columns of a sampled completion. They travel with the score through journal and
// checkpoint, so that a resumed run audits nothing twice.
namespace audit_column {
inline constexpr const char* kVerdict = "audit_verdict";  // "right", "wrong", "none" (no opinion)
inline constexpr const char* kAnswer = "audit_answer";    // as the second checker read it
inline constexpr const char* kGold = "audit_gold";
inline constexpr const char* kWhy = "audit_why";
}  // namespace audit_column

// Thread-safe.
class Auditor {
 public:
  // share in [0, 1] of the completions; the draw is keyed by (seed, weight version, prompt id, sample): independent of
  // order, threads and resumes.
  Auditor(std::shared_ptr<const AuditCheck> check, double share, std::uint64_t seed);
  bool samples(const Prompt& prompt, const Completion& completion, std::size_t sample) const;
  void audit(const SampleGroup& group, std::span<Score> scores) const;
  const AuditCheck& check() const { return *check_; }
  double share() const { return share_; }

 private:
  std::shared_ptr<const AuditCheck> check_;
  double share_;
  std::uint64_t seed_;
};

}  // namespace r1
