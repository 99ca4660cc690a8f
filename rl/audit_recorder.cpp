#include "rl/audit_recorder.h"

#include <algorithm>
#include <sstream>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/metrics.h"
#include "rewards/audit/auditor.h"

namespace r1 {
namespace {

using Json = nlohmann::ordered_json;

std::string dump(const Json& j) { return j.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"; }
Json json_of(const AuditMoments& m) { return Json::array({m.sum, m.squares}); }
AuditMoments moments(const Json& j) { return {j.at(0).get<double>(), j.at(1).get<double>()}; }

Json history_line(std::int64_t step, const AuditSums& s) {
  return {{"step", step}, {"groups", s.groups}, {"claim", json_of(s.claim)}, {"accuracy", json_of(s.accuracy)},
          {"behind", json_of(s.behind)}, {"reward", json_of(s.reward)}};
}

AuditSums sums_of(const Json& j) {
  AuditSums s;
  s.groups = j.at("groups").get<std::int64_t>();
  s.claim = moments(j.at("claim"));
  s.accuracy = moments(j.at("accuracy"));
  s.behind = moments(j.at("behind"));
  s.reward = moments(j.at("reward"));
  return s;
}

const std::string& column(const Score& s, const char* name) {
  static const std::string kNone;
  const auto it = s.columns.find(name);
  return it == s.columns.end() ? kNone : it->second;
}

// Both readings of one completion.
Json row(const StepRecord& record, const ScoredGroup& g, std::size_t i, double claim, bool claimed) {
  const Prompt& p = g.group.prompt;
  const Score& s = g.scores[i];
  Json j = {{"step", record.step}, {"rollout", record.rollout}, {"prompt_id", p.id}, {"sample", i},
            {"kind", claimed ? "false_positive" : "false_negative"},
            {"prompt", p.messages.empty() ? p.text : p.messages.back().content}, {"reference", p.reference},
            {"completion", g.group.completions[i].text}, {"stop", to_string(g.group.completions[i].stop)}};
  j["reward"] = {{"value", s.value}, {"claim", claim}, {"verdict", to_string(s.verdict)}, {"detail", s.detail},
                 {"gold", column(s, "gold_parsed")}, {"answer", column(s, "answer_parsed")}, {"parts", s.parts}};
  j["audit"] = {{"verdict", column(s, audit_column::kVerdict)}, {"why", column(s, audit_column::kWhy)},
                {"gold", column(s, audit_column::kGold)}, {"answer", column(s, audit_column::kAnswer)}};
  return j;
}

}  // namespace

std::optional<double> claim_of(const Score& score, const std::map<std::string, double>& claims) {
  double sum = 0, weights = 0;
  for (const auto& [label, weight] : claims) {
    const auto verdict = score.columns.find(label + "/verdict");
    const auto value = score.parts.find(label);
    if (verdict == score.columns.end() && value == score.parts.end()) continue;
    const double claim = verdict != score.columns.end() ? static_cast<double>(verdict->second == to_string(Verdict::kCorrect))
                                                        : std::clamp(static_cast<double>(value->second), 0.0, 1.0);
    sum += weight * claim;
    weights += weight;
  }
  return weights > 0 ? std::optional<double>(sum / weights) : std::nullopt;
}

bool claimed_right(const Score& score, double claim) {
  return score.verdict == Verdict::kAbstain ? claim > 0.5 : score.verdict == Verdict::kCorrect;
}

AuditRecorder::AuditRecorder(Options options) : options_(std::move(options)), watch_(options_.watch) {
  if (options_.dir.empty()) return;
  make_directories(options_.dir);
  const auto history = options_.dir / "history.jsonl", rows = options_.dir / "disagreements.jsonl";
  for (const auto& file : {history, rows}) cut_records_after(file, options_.resumed);
  if (std::filesystem::exists(history)) {
    std::istringstream lines(read_file(history));
    for (std::string line; std::getline(lines, line);) {
      const Json j = Json::parse(line, nullptr, false);
      try {
        watch(sums_of(j), j.at("step").get<std::int64_t>(), false);
      } catch (const Json::exception&) {
        throw DataError(message(history.string(), " holds a line that is no record of an audit: ", line.substr(0, 80),
                                "; delete the file to begin the audit anew"));
      }
    }
  }
  history_.emplace(history, File::Mode::kAppend);
  rows_.emplace(rows, File::Mode::kAppend);
}

AuditAlarm AuditRecorder::watch(const AuditSums& sums, std::int64_t step, bool tell) {
  AuditAlarm alarm = watch_.add(sums);
  if (alarm.on && !alarmed_) {
    ++alarms_;
    if (tell && options_.on_alarm) options_.on_alarm(step, alarm);
  }
  alarmed_ = alarm.on;
  return alarm;
}

void AuditRecorder::on_checkpoint(std::int64_t, const std::filesystem::path&) {
  if (history_) history_->sync();
  if (rows_) rows_->sync();
}

void AuditRecorder::add_metrics(StepRecord& record) {
  AuditSums sums;
  std::int64_t audited = 0, silent = 0, right = 0, claimed_sum = 0, false_positive = 0, false_negative = 0;
  double reward_sum = 0;
  std::string rows;
  for (const ScoredGroup& g : record.groups) {
    double claim_sum = 0, reward = 0;
    std::int64_t n = 0, correct = 0;
    for (std::size_t i = 0; i < g.scores.size(); ++i) {
      const Score& s = g.scores[i];
      const std::string& verdict = column(s, audit_column::kVerdict);
      if (verdict.empty()) continue;
      const std::optional<double> claim = claim_of(s, options_.claims);
      if (verdict == "none" || !claim) {
        ++silent;
        continue;
      }
      const bool truth = verdict == "right", claimed = claimed_right(s, *claim);
      ++n;
      correct += truth;
      claim_sum += *claim;
      reward += static_cast<double>(s.value);
      claimed_sum += claimed;
      if (claimed == truth) continue;
      (claimed ? false_positive : false_negative) += 1;
      if (rows_ && false_positive + false_negative <= options_.rows_per_rollout) rows += dump(row(record, g, i, *claim, claimed));
    }
    if (n == 0) continue;
    audited += n;
    right += correct;
    reward_sum += reward;
    const auto d = static_cast<double>(n);
    sums.add_group(claim_sum / d, static_cast<double>(correct) / d, reward / d);
  }
  if (audited + silent == 0) return;
  const auto share = [&](const char* name, std::int64_t part, std::int64_t of) {
    if (of > 0) record.metrics[name] = static_cast<double>(part) / static_cast<double>(of);
  };
  record.metrics["audit/completions"] = static_cast<double>(audited);
  share("audit/no_opinion", silent, audited + silent);
  share("audit/accuracy", right, audited);
  share("audit/claimed", claimed_sum, audited);
  share("audit/disagreement", false_positive + false_negative, audited);
  share("audit/false_positive_rate", false_positive, audited - right);
  share("audit/false_negative_rate", false_negative, right);
  if (audited > 0) record.metrics["audit/reward"] = reward_sum / static_cast<double>(audited);
  record.metrics["audit/alarm"] = watch(sums, record.step, true).on ? 1 : 0;
  if (rows_ && !rows.empty()) rows_->write(rows);
  if (history_) history_->write(dump(history_line(record.step, sums)));
}

}  // namespace r1
