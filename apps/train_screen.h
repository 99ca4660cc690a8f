// What `r1 train` shows: a start block, one line a step, evaluations, samples, and how to go on at the end.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "apps/screen_text.h"
#include "core/progress.h"
#include "core/terminal.h"
#include "recipes/recipe.h"
#include "rl/trainer.h"

namespace r1 {

class TrainScreen : public TrainObserver {
 public:
  // The terminal outlives the screen. first_step: updates done before this start.
  TrainScreen(Terminal& terminal, const Recipe& recipe, std::int64_t first_step);

  void on_rollout_start(std::uint64_t rollout, std::int64_t step) override;
  void on_rollout_progress(const RolloutProgress& progress) override;
  void on_step(const StepRecord& record) override;
  void on_evaluation(std::int64_t step, const EvalReport& report) override;
  void on_checkpoint(std::int64_t step, const std::filesystem::path& path) override;
  void on_message(const std::string& text) override;

  // The last block: results first to last, where the model is, what to do with it. `interrupted` says how to go on.
  void finish(bool interrupted);

 private:
  std::string step_line(const StepRecord& record) const;
  void show_sample(const StepRecord& record);
  Terminal& terminal_;
  const Recipe& recipe_;
  Progress progress_;
  std::int64_t next_sample_;
  AccuracyChange accuracy_;
  std::filesystem::path checkpoint_;
  double started_;
};

// The start block: model, data, batch arithmetic, rewards, place of the output.
std::string start_block(const Recipe& recipe, const ModelConfig& model, const std::string& device, std::size_t prompts,
                        std::size_t eval_prompts);

}  // namespace r1
