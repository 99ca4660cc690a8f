#include "apps/train_screen.h"

#include <cmath>

#include "apps/batch_text.h"
#include "apps/screen_text.h"
#include "core/error.h"
#include "core/format.h"

namespace r1 {

std::string start_block(const Recipe& recipe, const ModelConfig& model, const std::string& device, std::size_t prompts,
                        std::size_t eval_prompts) {
  std::string rewards;
  for (const Rubric::Entry& e : recipe.rubric->entries()) rewards += format("%s%s x%g", rewards.empty() ? "" : ", ", e.label.c_str(), double{e.weight});
  std::string out;
  const auto row = [&](const char* name, const std::string& text) { out += format("  %-9s ", name) + text + "\n"; };
  row("model", model_text(recipe.model, model));
  row("device", device);
  row("data", message(with_commas(static_cast<std::int64_t>(prompts)), " prompts; ", eval_prompts > 0 ? message("evaluation on ", eval_prompts) : "no evaluation"));
  row("rollout", rollout_text(recipe));
  row("updates", updates_text(recipe));
  row("rewards", rewards);
  if (const auto& auditor = recipe.audit.auditor)
    row("audit", format("%g %% of completions by a second check (%s)", 100 * auditor->share(), std::string(auditor->check().name()).c_str()));
  row("output", recipe.output.dir.string());
  return out;
}

TrainScreen::TrainScreen(Terminal& terminal, const Recipe& recipe, std::int64_t first_step)
    : terminal_(terminal), recipe_(recipe), progress_(terminal, {recipe.trainer.steps, first_step, Progress::Clock::now}),
      next_sample_(first_step), started_(now_s()) {}

void TrainScreen::on_rollout_start(std::uint64_t, std::int64_t) { progress_.work("rollout", 0, 0, ""); }

void TrainScreen::on_rollout_progress(const RolloutProgress& p) {
  const double rate = p.seconds > 0.2 ? static_cast<double>(p.tokens) / p.seconds : 0;
  progress_.work("rollout", p.completions, p.total, rate > 0 ? with_commas(static_cast<std::int64_t>(rate)) + " tok/s" : "");
}

std::string TrainScreen::step_line(const StepRecord& record) const {
  const auto get = [&](const char* name) -> std::optional<double> {
    const auto it = record.metrics.find(name);
    return it == record.metrics.end() ? std::nullopt : std::optional<double>(it->second);
  };
  std::string line = step_text(record.step, recipe_.trainer.steps);
  const auto add = [&](const char* name, const char* key, const char* pattern) { add_metric(line, record, name, key, pattern); };
  add("reward", "reward", "%.3f");
  add("acc", "accuracy", "%.3f");
  add("audited", "audit/accuracy", "%.3f");
  if (get("audit/alarm").value_or(0) > 0) line += "  AUDIT ALARM";
  add("mixed", "frac_groups_mixed", "%.2f");
  if (!get("frac_groups_mixed"))
    if (const auto zero = get("frac_reward_zero_std")) line += format("  mixed %.2f", 1 - *zero);
  add("len", "completions/mean_length", "%.1f");
  add("entropy", "entropy", "%.3f");
  add("kl", "kl", "%.4f");
  add("reverse kl", "distill/reverse_kl", "%.4f");
  add("grad", "grad_norm", "%.2f");
  add("dlogp", "mismatch/max_abs_logp", "%.2g");
  if (recipe_.trainer.async.max_staleness > 0) {
    add("stale", "staleness/mean", "%.1f");
    add("overlap", "rollout/overlap_share", "%.2f");
  }
  add("tok/s", "rollout/tokens_per_s", "%.0f");
  const double total = get("step_time").value_or(0);
  if (total > 0) {
    line += format("  %.1f s", total);
    const auto share = [&](const char* key) { return static_cast<int>(std::lround(100 * get(key).value_or(0) / total)); };
    line += format(" (gen %d %%, reward %d %%, update %d %%)", share("timing_s/gen"), share("timing_s/reward"), share("timing_s/update_actor"));
  }
  return line;
}

void TrainScreen::on_step(const StepRecord& record) {
  progress_.step_done(record.step, step_line(record));
  if (recipe_.output.samples_every > 0 && record.step > next_sample_ && !record.groups.empty()) {
    show_sample(record);
    next_sample_ = (record.step / recipe_.output.samples_every + 1) * recipe_.output.samples_every - 1;
  }
}

void TrainScreen::show_sample(const StepRecord& record) {
  // The first group that can teach something, else the first.
  const ScoredGroup* chosen = &record.groups.front();
  for (const ScoredGroup& g : record.groups) {
    bool mixed = false;
    for (const Score& s : g.scores) mixed = mixed || s.value != g.scores.front().value;
    if (mixed) { chosen = &g; break; }
  }
  const Prompt& prompt = chosen->group.prompt;
  const std::string question = prompt.messages.empty() ? prompt.text : prompt.messages.back().content;
  std::string out = terminal_.paint(message("  sample of step ", record.step, ": ", one_line(question, 90), "   gold: ", one_line(prompt.reference, 30)), "2") + "\n";
  std::vector<std::string> header = {"reward", "verdict", "read", "end", "completion"};
  Table table(header);
  for (std::size_t i = 0; i < chosen->scores.size() && i < 4; ++i) {
    const Score& s = chosen->scores[i];
    const Completion& c = chosen->group.completions[i];
    const auto read = s.columns.find("answer_parsed");
    table.add_row({format("%.2f", double{s.value}), to_string(s.verdict), read == s.columns.end() ? s.detail : one_line(read->second, 12),
                   to_string(c.stop), one_line(c.text, 70)});
  }
  std::string rows = table.str();
  for (std::size_t at = 0; at < rows.size();) {
    const std::size_t end = rows.find('\n', at);
    out += terminal_.paint("    " + rows.substr(at, end - at), "2") + "\n";
    at = end + 1;
  }
  terminal_.print(out);
}

void TrainScreen::on_evaluation(std::int64_t step, const EvalReport& report) {
  accuracy_.add(step, report);
  terminal_.print(terminal_.paint(eval_line(step, report, recipe_.trainer.eval.sampling.temperature), "1"));
}

void TrainScreen::on_checkpoint(std::int64_t, const std::filesystem::path& path) { checkpoint_ = path; }

void TrainScreen::on_message(const std::string& text) { terminal_.print("  " + text); }

void TrainScreen::finish(bool interrupted) {
  terminal_.set_status("");
  std::string out = message(interrupted ? "stopped" : "done", " after ", human_duration(now_s() - started_), "\n");
  out += accuracy_.line() + closing_lines(recipe_.output.dir, checkpoint_, interrupted);
  terminal_.print(out, true);
}

}  // namespace r1
