// The reward audit of a training run: metrics, files and the alarm, from what rewards/audit/auditor.h noted in the
// scores. Costs sums over strings already there; the checks themselves ran in the scoring pool, behind the sampling.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "core/files.h"
#include "rl/audit_watch.h"
#include "rl/trainer.h"

namespace r1 {

class AuditRecorder : public TrainObserver {
 public:
  struct Options {
    AuditWatchOptions watch;
    // Rewards that claim something about the answer, by label, with their weights (> 0); see claim_of().
    std::map<std::string, double> claims;
    std::filesystem::path dir;           // history.jsonl and disagreements.jsonl; empty = no files
    std::optional<std::int64_t> resumed;  // later records in the files are cut; none = all
    int rows_per_rollout = 100;          // disagreements written at most; the metrics count all
    std::function<void(std::int64_t step, const AuditAlarm&)> on_alarm;  // when an alarm begins
  };
  // Replays the history. Throws IoError.
  explicit AuditRecorder(Options options);

  // Adds to record.metrics, where a rollout was audited: audit/completions (with an opinion), audit/no_opinion (share
  // without), and over the former audit/accuracy, audit/claimed (share that the verdict holds right), audit/reward (mean),
  // audit/disagreement, audit/false_positive_rate (claimed among those audited wrong), audit/false_negative_rate (not
  // claimed among those audited right), audit/alarm (0 or 1). Shares of nothing are absent.
  void add_metrics(StepRecord& record) override;
  void on_checkpoint(std::int64_t step, const std::filesystem::path& path) override;  // the files reach the disk
  bool alarmed() const { return alarmed_; }  // now
  int alarms() const { return alarms_; }     // times one began, earlier starts included

 private:
  AuditAlarm watch(const AuditSums& sums, std::int64_t step, bool tell);
  Options options_;
  AuditWatch watch_;
  std::optional<File> history_, rows_;
  bool alarmed_ = false;
  int alarms_ = 0;
};

// What the rewards say of the answer, 0..1: the mean, weighted by `claims`, of each reward's claim: 1 or 0 by its own
// verdict ("label/verdict" = ok), else its value clamped to [0, 1]. nullopt: none of them spoke.
std::optional<double> claim_of(const Score& score, const std::map<std::string, double>& claims);
// The sample's verdict if a reward judged it, else claim > 0.5.
bool claimed_right(const Score& score, double claim);

}  // namespace r1
