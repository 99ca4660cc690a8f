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
#include "rl/ranks.h"

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
    RanksSection ranks;                   // the recipe's
    bool shares_model = false;            // whether the kind knows train.tensor_parallel and train.sequence_parallel
  };
  // Throws ConfigError where --resume finds no run, and for a model or device that is not there.
  TrainRun(const TrainRequest& request, Setup setup);

  ~TrainRun();

  // Of this run; one process is one rank.
  Ranks& ranks() { return ranks_; }
  // What this rank's device keeps of the optimizer's state.
  void share(BackendNeeds& needs) const;
  // The trained models of `made` are one of several from here on. All ranks come here.
  void join(const BackendParts& made);
  Terminal& terminal() { return terminal_; }  // of rank 0; the others show nothing
  Runtime& runtime() { return runtime_; }
  Backend& backend() const { return *runtime_.backend; }

  // Opens or makes the run folder, and the log in it; after the data was found to be good. Ranks but 0 get a scratch folder in its place,
  // which goes away with the run.
  RunFolder& open_folder();
  bool was_finished() const { return was_finished_; }  // as rank 0 found the folder
  RunFolder& folder() { return *folder_; }
  // For BackendNeeds::lora: new pairs or those to go on from; says so on the screen. None without the section.
  std::optional<LoraAdapter> adapter(const std::optional<LoraSection>& lora);
  // Saves HF directories with the start model's tokenizer files, and with lora: the pairs as a PEFT directory adapter/ in each; with the
  // head of a value model if there is one. After open_folder(); `made` outlives the store. Throws ConfigError where not even one has room.
  ModelCheckpointStore checkpoints(const BackendParts& made);
  // metrics.jsonl and TensorBoard; records above `resumed` are dropped first. After open_folder().
  MetricsWriter metrics(std::optional<std::int64_t> resumed);

 private:
  void check_disk(const BackendParts& made) const;
  Setup setup_;
  const TrainRequest& request_;
  Terminal terminal_;
  Runtime runtime_;
  Ranks ranks_;
  bool was_finished_ = false;
  std::filesystem::path scratch_;  // with several ranks
  std::optional<RunFolder> folder_;
  std::optional<LogScope> log_;
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
