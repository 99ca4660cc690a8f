#include "rewards/audit/auditor.h"

#include <cstring>
#include <utility>

#include "core/digest.h"
#include "core/error.h"
#include "core/rng.h"

namespace r1 {
namespace {

constexpr std::uint64_t kStream = 0x6175646974ull;  // apart from the draws of tokens under the same seed

}  // namespace

Auditor::Auditor(std::shared_ptr<const AuditCheck> check, double share, std::uint64_t seed)
    : check_(std::move(check)), share_(share), seed_(seed) {
  R1_CHECK(check_ != nullptr, "an auditor without a check");
  if (!(share >= 0 && share <= 1)) throw ConfigError(message("audit.share is ", share, ", must be from 0 to 1"));
}

bool Auditor::samples(const Prompt& prompt, const Completion& c, std::size_t sample) const {
  const Digest id = digest_of(prompt.id);
  DrawKey key;
  key.seed = seed_ ^ kStream;
  key.step = c.version_runs.empty() ? 0 : c.version_runs.front().version;
  std::memcpy(&key.prompt, id.data(), sizeof key.prompt);
  key.sample = static_cast<std::uint32_t>(sample);
  return draw_uniform(key, 0) < share_;
}

void Auditor::audit(const SampleGroup& group, std::span<Score> scores) const {
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (!samples(group.prompt, group.completions[i], i)) continue;
    AuditReading r = check_->read(group.prompt, group.completions[i]);
    auto& columns = scores[i].columns;
    columns[audit_column::kVerdict] = !r.right ? "none" : *r.right ? "right" : "wrong";
    columns[audit_column::kAnswer] = std::move(r.answer);
    columns[audit_column::kGold] = std::move(r.gold);
    columns[audit_column::kWhy] = std::move(r.why);
  }
}

}  // namespace r1
