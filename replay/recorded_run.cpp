#include "replay/recorded_run.h"

#include <algorithm>

#include "core/error.h"
#include "core/files.h"
#include "core/run_folder.h"
#include "report/run_data.h"

namespace r1 {
namespace {

std::string step_list(const std::vector<std::int64_t>& steps) {
  std::string out;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (i == 8 && steps.size() > 12) {
      out += ", ...";
      i = steps.size() - 3;
    }
    out += (out.empty() ? "" : ", ") + std::to_string(steps[i]);
  }
  return out;
}

// A completion as text alone; enough for rewards that read no tokens.
ScoredGroup group_of(const std::vector<report::SampleRow>& rows) {
  ScoredGroup out;
  out.group.prompt.id = rows.front().prompt_id, out.group.prompt.text = rows.front().prompt, out.group.prompt.reference = rows.front().reference;
  for (const report::SampleRow& row : rows) {
    Completion c;
    c.text = row.completion;
    c.tokens.resize(static_cast<std::size_t>(row.tokens));
    for (const StopReason stop : {StopReason::kEos, StopReason::kStop, StopReason::kLength, StopReason::kAborted})
      if (row.stop == to_string(stop)) c.stop = stop;
    Score s;
    s.value = static_cast<float>(row.reward);
    for (const auto& [name, value] : row.rewards) s.parts[name] = static_cast<float>(value);
    for (const Verdict v : {Verdict::kCorrect, Verdict::kWrong, Verdict::kUnparsed, Verdict::kTimeout, Verdict::kError, Verdict::kAbstain})
      if (row.verdict == to_string(v)) s.verdict = v;
    s.detail = row.detail, s.columns = row.columns;
    out.group.completions.push_back(std::move(c));
    out.scores.push_back(std::move(s));
  }
  return out;
}

}  // namespace

RecordedRun::RecordedRun(std::filesystem::path dir) : dir_(std::move(dir)) {
  std::error_code none;
  if (!std::filesystem::exists(dir_ / "config.yaml", none)) throw ConfigError(message(dir_.string(), " holds no run (no config.yaml); name a run folder, e.g. runs/quickstart"));
}

Config RecordedRun::config() const { return Config::load(dir_ / "config.yaml"); }

RecordedRollout RecordedRun::rollout(std::int64_t step) const {
  const std::vector<std::int64_t> steps = rollouts();
  if (steps.empty())
    throw ConfigError(message(dir_.string(), " has no recorded rollouts: output.record_gb was 0, the run is of another kind than grpo, or of an older r1"));
  const auto after = std::upper_bound(steps.begin(), steps.end(), step);
  if (after != steps.begin()) {
    const std::int64_t first = *(after - 1);
    const std::filesystem::path file = dir_ / "rollouts" / (step_name(first) + ".rollout");
    RecordedRollout rollout = with_context(file.string(), [&] { return rollout_from_bytes(read_file(file)); });
    if (first == step) return rollout;
    const std::filesystem::path update = dir_ / "rollouts" / (step_name(step) + ".tokens");
    std::error_code none;
    if (std::filesystem::exists(update, none) && update_from_bytes(read_file(update)).rollout == rollout.rollout) return rollout;
  }
  throw ConfigError(message("step ", step, " is not recorded in ", dir_.string(), "; recorded rollouts begin at steps ", step_list(steps)));
}

std::vector<RecordedUpdate> RecordedRun::updates(const RecordedRollout& rollout) const {
  std::vector<RecordedUpdate> out;
  const std::vector<std::int64_t> steps = recorded_steps(dir_ / "rollouts", ".tokens");
  for (auto it = std::lower_bound(steps.begin(), steps.end(), rollout.step); it != steps.end(); ++it) {
    const std::filesystem::path file = dir_ / "rollouts" / (step_name(*it) + ".tokens");
    RecordedUpdate update = with_context(file.string(), [&] { return update_from_bytes(read_file(file)); });
    if (update.rollout != rollout.rollout) break;
    out.push_back(std::move(update));
  }
  return out;
}

bool RecordedRun::each_rollout(const std::function<void(const RecordedRollout&)>& use) const {
  const std::vector<std::int64_t> steps = rollouts();
  for (const std::int64_t step : steps) use(rollout(step));
  if (!steps.empty()) return true;
  for (const auto& [step, rows] : report::load_run(dir_).samples) {
    RecordedRollout r;
    r.step = step;
    for (std::size_t begin = 0, end = 0; begin < rows.size(); begin = end) {
      while (end < rows.size() && (end == begin || (rows[end].prompt_id == rows[begin].prompt_id && rows[end].sample > rows[end - 1].sample))) ++end;
      RecordedGroup& g = r.groups.emplace_back();
      g.scored = group_of({rows.begin() + static_cast<std::ptrdiff_t>(begin), rows.begin() + static_cast<std::ptrdiff_t>(end)});
    }
    use(r);
  }
  return false;
}

std::map<std::int32_t, std::vector<TokenUpdate>> token_updates(const std::vector<RecordedUpdate>& updates, std::int32_t sample) {
  std::map<std::int32_t, std::vector<TokenUpdate>> out;
  for (const RecordedUpdate& u : updates)
    for (const RecordedTokens& s : u.samples) {
      if (s.sample != sample) continue;
      for (std::size_t t = 0; t < s.positions.size(); ++t)
        out[s.positions[t]].push_back({u.step, s.logprobs[t], s.old_logprobs[t], s.advantages[t], s.gradients[t], s.kl[t], s.clipped[t]});
    }
  return out;
}

Config portable_config(const RecordedRun& run) {
  const std::vector<std::string> overrides = {"model={path: none}", "data={generate: {task: add, n: 1}}", "eval={}", "audit={share: 0}", "rewards=[{name: math}]"};
  return Config::load(run.path() / "config.yaml", overrides);
}

}  // namespace r1
