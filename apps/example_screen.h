// What runs over examples (SFT, reward models, DPO, distillation by logits) show, and their last stretch: trainer, resume, recorder, screen.
#pragma once

#include <string>
#include <vector>

#include "apps/train_run.h"
#include "sft/example_trainer.h"

namespace r1 {

// On the line of a step under `label`, and of a validation from "eval/" + key.
struct ShownMetric {
  const char *label, *key, *format;
};

// `unit`: what an update is made of.
std::string example_start_block(const ModelSection& model, const Backend& backend, const std::string& data, const ExampleTrainerOptions& options,
                                const OutputSection& output, const char* unit);

// Trains to the end; gives the exit code. Of `parts`, checkpoints, observers and peak_gb are set here. `extra` may be null: one more
// observer. Stage reward_model: the last lines say how such a model is used.
int run_examples(TrainRun& run, RunFolder& folder, const char* stage, const BackendParts& made, ExampleTrainer::Parts parts,
                 const ExampleTrainerOptions& options, const OutputSection& output, const std::vector<ShownMetric>& shown, TrainObserver* extra);

}  // namespace r1
