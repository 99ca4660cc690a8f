#include "apps/screen_text.h"

#include <chrono>
#include <cmath>

#include "core/error.h"
#include "core/format.h"

namespace r1 {
namespace {

std::string percent(const EvalPart& part) {
  return format("%.1f %% [%.1f, %.1f]", 100 * part.accuracy, 100 * part.interval.low, 100 * part.interval.high);
}

}  // namespace

double now_s() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::string one_line(const std::string& text, std::size_t limit) {
  std::string out;
  for (char c : text) out += c == '\n' ? std::string("\\n") : std::string(1, c);
  return cut_to_width(out, limit);
}

std::string model_text(const ModelSection& section, const ModelConfig& config) {
  return message(section.path, " (", config.model_type, ", ", human_count(static_cast<double>(config.num_parameters())), " parameters, ",
                 section.dtype == DType::kBF16 ? "bfloat16" : "float32", ")");
}

std::string eval_line(std::int64_t step, const EvalReport& report, float temperature) {
  std::string line = message("  eval at ", step, ":");
  if (report.greedy) line += "  greedy " + percent(*report.greedy);
  if (report.sampled) {
    line += format("  T=%g ", double{temperature}) + percent(*report.sampled);
    line += format("  length %.1f", report.sampled->mean_length);
    if (!std::isnan(report.sampled->mean_entropy)) line += format("  entropy %.3f", report.sampled->mean_entropy);
  }
  return line + format("  (%.1f s)", report.seconds);
}

std::string step_text(std::int64_t step, std::int64_t steps) {
  return format("step %*lld/%lld", static_cast<int>(std::to_string(steps).size()), static_cast<long long>(step), static_cast<long long>(steps));
}

void add_metric(std::string& line, const StepRecord& record, const char* name, const char* key, const char* pattern) {
  if (const auto it = record.metrics.find(key); it != record.metrics.end()) line += std::string("  ") + name + " " + format(pattern, it->second);
}

std::string closing_lines(const std::filesystem::path& run, const std::filesystem::path& checkpoint, bool interrupted) {
  std::string out;
  if (!checkpoint.empty()) out += message("  checkpoint  ", checkpoint.string(), "  (a Hugging Face directory)\n");
  const std::string latest = shell_word((run / "checkpoints/latest").string());
  if (interrupted) out += message("  go on       r1 train with the same recipe; it resumes by itself\n");
  if (!checkpoint.empty()) {
    out += message("  evaluate    r1 eval --model ", latest, " --data test.jsonl\n");
    out += message("  chat        r1 chat --model ", latest, "\n");
  }
  out += message("  curves      r1 watch ", shell_word(run.string()));
  if (const std::filesystem::path events = run / "tensorboard"; std::filesystem::exists(events)) out += message(", or tensorboard --logdir ", shell_word(events.string()));
  return out + "   numbers: " + (run / "metrics.jsonl").string();
}

void AccuracyChange::add(std::int64_t step, const EvalReport& report) {
  if (!report.greedy) return;
  if (first_step_ < 0) first_ = report.greedy->accuracy, first_step_ = step;
  last_ = report.greedy->accuracy, last_step_ = step;
}

std::string AccuracyChange::line() const {
  if (last_step_ <= first_step_) return "";
  return format("  greedy accuracy %.1f %% at step %lld -> %.1f %% at step %lld\n", 100 * first_, static_cast<long long>(first_step_), 100 * last_,
                static_cast<long long>(last_step_));
}

}  // namespace r1
