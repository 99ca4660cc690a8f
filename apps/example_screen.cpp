#include "apps/example_screen.h"

#include <optional>
#include <utility>

#include "apps/screen_text.h"
#include "core/error.h"
#include "core/format.h"
#include "core/progress.h"
#include "rl/ranked_checkpoints.h"
#include "rl/run_recorder.h"

namespace r1 {
namespace {

class ExampleScreen : public TrainObserver {
 public:
  ExampleScreen(Terminal& terminal, const ExampleTrainerOptions& options, std::int64_t first_step, const OutputSection& output,
                std::vector<ShownMetric> shown, bool scorer)
      : terminal_(terminal),
        steps_(options.loop.steps),
        temperature_(options.eval.sampling.temperature),
        output_(output),
        shown_(std::move(shown)),
        scorer_(scorer),
        progress_(terminal, {steps_, first_step, Progress::Clock::now}),
        started_(now_s()) {}

  void on_step(const StepRecord& record) override {
    std::string line = step_text(record.step, steps_);
    for (const ShownMetric& m : shown_) add_metric(line, record, m.label, m.key, m.format);
    add_metric(line, record, "grad", "grad_norm", "%.2f");
    add_metric(line, record, "lr", "learning_rate", "%.3g");
    add_metric(line, record, "epoch", "epoch", "%.2f");
    add_metric(line, record, "tok/s", "perf/throughput", "%.0f");
    progress_.step_done(record.step, line);
  }
  void on_validation(std::int64_t step, const std::map<std::string, double>& metrics) override {
    std::string line = values(metrics);
    if (!first_) first_ = line;
    last_ = line;
    terminal_.print(terminal_.paint(message("  validation at ", step, ":", line), "1"));
  }
  void on_evaluation(std::int64_t step, const EvalReport& report) override {
    accuracy_.add(step, report);
    terminal_.print(terminal_.paint(eval_line(step, report, temperature_), "1"));
  }
  void on_checkpoint(std::int64_t, const std::filesystem::path& path) override { checkpoint_ = path; }
  void on_message(const std::string& text) override { terminal_.print("  " + text); }

  void finish(bool interrupted) {
    terminal_.set_status("");
    std::string out = message(interrupted ? "stopped" : "done", " after ", human_duration(now_s() - started_), "\n");
    if (first_) out += message("  validation, first: ", *first_, "\n  validation, last:  ", last_, "\n");
    if (!scorer_) {
      terminal_.print(out + accuracy_.line() + closing_lines(output_.dir, checkpoint_, interrupted), true);
      return;
    }
    if (!checkpoint_.empty())
      out += message("  checkpoint  ", checkpoint_.string(), "  (for AutoModelForSequenceClassification, num_labels 1)\n  in RL       rewards: [{model: ",
                     (output_.dir / "checkpoints/latest").string(), "}]\n");
    if (interrupted) out += "  go on       r1 train with the same recipe; it resumes by itself\n";
    terminal_.print(out + message("  numbers     ", (output_.dir / "metrics.jsonl").string()), true);
  }

 private:
  std::string values(const std::map<std::string, double>& metrics) const {
    std::string line;
    for (const ShownMetric& m : shown_) {
      const std::string key = message("eval/", m.key);
      const auto it = metrics.find(key);
      if (it == metrics.end()) continue;
      line += message("  ", m.label, " ", format(m.format, it->second));
      if (const auto low = metrics.find(key + "_low"); low != metrics.end())
        line += message(" [", format(m.format, low->second), ", ", format(m.format, metrics.at(key + "_high")), "]");
    }
    return line;
  }

  Terminal& terminal_;
  std::int64_t steps_;
  float temperature_;
  const OutputSection& output_;
  std::vector<ShownMetric> shown_;
  bool scorer_;
  Progress progress_;
  AccuracyChange accuracy_;
  std::optional<std::string> first_;
  std::string last_;
  std::filesystem::path checkpoint_;
  double started_;
};

}  // namespace

std::string example_start_block(const ModelSection& model, const Backend& backend, const std::string& data, const ExampleTrainerOptions& options,
                                const OutputSection& output, const char* unit) {
  std::string out;
  const auto row = [&](const char* name, const std::string& text) { out += format("  %-9s ", name) + text + "\n"; };
  const LrOptions& lr = options.optimizer.learning_rate;
  row("model", model_text(model, backend.config()));
  row("device", backend.line());
  row("data", data);
  row("updates",
      message(options.loop.steps, " updates of ", options.examples_per_update, " ", unit, ", learning rate ", lr.peak, ", ", lr.warmup, " warm-up"));
  row("output", output.dir.string());
  return out;
}

int run_examples(TrainRun& run, RunFolder& folder, const char* stage, const BackendParts& made, ExampleTrainer::Parts parts,
                 const ExampleTrainerOptions& options, const OutputSection& output, const std::vector<ShownMetric>& shown, TrainObserver* extra) {
  Terminal& terminal = run.terminal();
  ModelCheckpointStore files = run.checkpoints(made);
  RankedCheckpoints checkpoints(files, run.ranks());
  parts.ranks = &run.ranks();
  parts.checkpoints = &checkpoints;
  parts.peak_gb = [&] { return run.backend().peak_gb(); };
  ExampleTrainer trainer(stage, std::move(parts), options);
  const std::optional<std::int64_t> resumed = trainer.resume();
  if (resumed) terminal.print(message("  resuming  at step ", *resumed));
  if (run.was_finished() && trainer.step() >= options.loop.steps) {
    terminal.print(message("this run is finished (", trainer.step(), " of ", options.loop.steps, " updates); use --overwrite or another output.dir"),
                   true);
    return 0;
  }
  MetricsWriter metrics = run.metrics(resumed);
  RunRecorder::Options recorder_options;
  recorder_options.samples_every = 0;
  recorder_options.eval_items = folder.path() / "eval";
  RunRecorder recorder(&metrics, recorder_options);
  ExampleScreen screen(terminal, options, trainer.step(), output, shown, stage == std::string("reward_model"));
  trainer.add_observer(&recorder);
  if (extra) trainer.add_observer(extra);
  trainer.add_observer(&screen);
  return run_to_end(trainer, metrics, folder, screen);
}

}  // namespace r1
