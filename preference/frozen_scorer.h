// A reward model that is only asked: weights and head of a scorer's directory, without the memory of training.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "model/hf_directory.h"
#include "preference/preference_set.h"
#include "rewards/model_reward.h"
#include "rl/value_model.h"
#include "sft/training_text.h"

namespace r1 {

// Scores of the chosen rows of a batch.
using RowScorer = std::function<std::vector<float>(const PackedBatch& batch, std::span<const std::int32_t> rows)>;

// Not thread-safe.
class FrozenScorer {
 public:
  // Where the products are done instead of on the CPU: made once of the backbone (its arena is gone afterwards) and the head [D].
  using Elsewhere = std::function<RowScorer(const ModelConfig&, const WeightStore&, std::span<const float> head)>;
  // Throws CheckpointError if the directory holds a language model. The pool outlives it.
  FrozenScorer(const ModelDirectory& directory, DType dtype, ComputePool& pool, const Elsewhere& elsewhere = {});
  // As ValueModel::evaluate(): the same bits as the model that was saved has, where its head is saved in float32.
  std::vector<float> evaluate(const PackedBatch& batch, std::span<const std::int32_t> rows);
  const ModelConfig& config() const { return config_; }

 private:
  ModelConfig config_;
  std::unique_ptr<Transformer> model_;  // or
  RowScorer elsewhere_;
  std::vector<float> head_;  // [D]
};

// In front of one: the prompt's messages (its text as a user turn where there are none) and the answer as the assistant's turn, as the
// model was trained on. Answers that need more than the model's context get no score.
AnswerScorer make_answer_scorer(std::shared_ptr<FrozenScorer> model, std::shared_ptr<const TrainingTextMaker> texts,
                                std::int64_t tokens_per_micro_batch);

}  // namespace r1
