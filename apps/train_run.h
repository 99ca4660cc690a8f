// What every kind of training run sets up alike: the model on its device, the screen, the run folder with its log, checkpoints and
// metrics. The order of a start: TrainRun (opens the model), the kind reads its data, open_folder(), resume, metrics().
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/runtime.h"
#include "apps/train_kind.h"
#include "core/log.h"
#include "core/metrics.h"
#include "core/run_folder.h"
#include "core/signals.h"
#include "core/terminal.h"
#include "recipes/common_sections.h"
#include "rl/checkpoint_store.h"
#include "rl/lora_policy.h"

namespace r1 {

class TrainRun {
 public:
  struct Setup {
    ModelSection model;
    OutputSection output;
    int threads = 0;                      // the recipe's; the command line's win
    std::uint64_t seed = 0;
    const ResolvedConfig* resolved = nullptr;  // outlives the run
    std::vector<std::string> may_change;  // keys of the kind that may differ from the earlier start, beside those of every kind
    std::vector<std::string> warnings;    // shown at once
    bool scorer = false;                  // the model is the backbone of a scorer (open_scorer)
  };
  // Throws ConfigError where --resume finds no run, and for a model or device that is not there.
  TrainRun(const TrainRequest& request, Setup setup);

  Terminal& terminal() { return terminal_; }
  Runtime& runtime() { return runtime_; }
  Backend& backend() { return *runtime_.backend; }

  // Opens or makes the run folder, and the log in it; after the data was found to be good.
  RunFolder& open_folder();
  RunFolder& folder() { return *folder_; }
  // The policy that is trained: `made` itself, or with lora: pairs on top of it (made with ArenaParts::kGradient); says so on the screen.
  std::unique_ptr<PolicyModel> trained(std::unique_ptr<PolicyModel> made, const std::optional<LoraSection>& lora);
  // Saves HF directories with the start model's tokenizer files, and with lora: the pairs as a PEFT directory adapter/ in each. After
  // open_folder() and trained().
  ModelCheckpointStore checkpoints();
  // metrics.jsonl and TensorBoard; records above `resumed` are dropped first. After open_folder().
  MetricsWriter metrics(std::optional<std::int64_t> resumed);

 private:
  Setup setup_;
  const TrainRequest& request_;
  Terminal terminal_;
  Runtime runtime_;
  std::optional<RunFolder> folder_;
  std::optional<LogScope> log_;
  const LoraPolicy* lora_ = nullptr;  // what trained() gave
};

// Runs to the last update or Ctrl-C, with the numbers on disk before the screen says so; -> the program's exit code.
template <class Trainer, class Screen> int run_to_end(Trainer& trainer, MetricsWriter& metrics, RunFolder& folder, Screen& screen) {
  try {
    trainer.run();
  } catch (const Interrupted&) {
    metrics.sync();
    screen.finish(true);
    return kExitInterrupted;
  }
  metrics.sync();
  folder.mark_finished();
  screen.finish(false);
  return 0;
}

}  // namespace r1
