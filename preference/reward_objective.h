// Training of a reward model: Bradley-Terry on pairs, cross-entropy on labelled answers, on the score of the last token.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "preference/preference_set.h"
#include "rl/ranks.h"
#include "rl/value_model.h"
#include "sft/example_trainer.h"

namespace r1 {

struct RewardOptions {
  double centring = 0;  // pairs: coefficient of (s+ + s-)^2; 0.01 in arXiv:2312.09244
};

// What a held-out example got.
struct ScoredExample {
  std::string name;
  std::vector<double> scores;  // pairs: chosen, rejected; else one
  double label = 1;            // of a labelled answer
};

class RewardObjective : public ExampleObjective {
 public:
  // Both sets of one kind and already marked for scores; held_out may be empty. The model outlives the objective, as do the ranks, which
  // share the held-out examples; null = one process.
  RewardObjective(ValueModel& model, PreferenceSet train, PreferenceSet held_out, const RewardOptions& options, const Ranks* ranks = nullptr);

  std::int64_t size() const override { return train_.size(); }
  TrainedModel& model() override { return model_; }
  WeightSnapshot weights_to_save(WeightVersion version) const override { return model_.weights(version); }
  std::vector<std::int64_t> begin_update(std::int64_t update, std::span<const std::int64_t> examples) override;
  void train(std::span<const std::int32_t> places) override;
  // loss and TRL's names: accuracy, margin (pairs), min_reward, mean_reward, max_reward.
  Metrics report() override;
  std::string take_sums() override { return bytes_of(std::span<const Sums>(std::vector<Sums>{std::exchange(sums_, Sums{})})); }
  void add_sums(std::string_view bytes) override { sums_.add(values_of<Sums>(bytes).at(0)); }
  std::string name(std::int64_t example) const override {
    return train_.samples[static_cast<std::size_t>(train_.pairs ? 2 * example : example)].name;
  }
  bool has_evaluation() const override { return held_out_.size() > 0; }
  // eval/ with the same names; eval/accuracy with a 95 % Wilson interval (eval/accuracy_low, _high); for pairs eval/margin_std, and
  // eval/prompt_accuracy, the mean over prompts of each one's pairs, with a bootstrap interval over prompts (_low, _high).
  Metrics evaluate(std::int64_t tokens_per_micro_batch) override;
  const std::vector<ScoredExample>& scored() const { return scored_; }  // by the last evaluate()

 private:
  struct Sums {
    double loss = 0, right = 0, margin = 0, score = 0, least = 0, most = 0;
    std::int64_t examples = 0, scores = 0;
    void add(const Sums& o) {
      if (o.scores == 0) return;  // its least and most say nothing
      least = scores == 0 ? o.least : std::min(least, o.least), most = scores == 0 ? o.most : std::max(most, o.most);
      loss += o.loss, right += o.right, margin += o.margin, score += o.score, examples += o.examples, scores += o.scores;
    }
  };
  // Scores of a micro-batch -> their gradient of the mean over update_size examples.
  std::vector<float> judge(const PreferenceSet& set, const MicroBatch& batch, std::span<const float> scores, std::int64_t update_size,
                           Sums& sums) const;
  static Metrics metrics_of(const Sums& sums, bool pairs, const std::string& prefix);

  ValueModel& model_;
  const Ranks one_process_;
  const Ranks& ranks_;
  PreferenceSet train_, held_out_;
  RewardOptions options_;
  std::vector<std::int64_t> examples_;  // of the update
  Sums sums_;
  std::vector<ScoredExample> scored_;
};

// Scores of the marked rows of `samples`, in their order, by evaluate(batch, rows) of a scorer; micro-batches of at most so many rows.
using EvaluateRows = FunctionRef<std::vector<float>(const PackedBatch&, std::span<const std::int32_t>)>;
std::vector<float> score_samples(EvaluateRows evaluate, std::span<const TrainSample> samples, std::int64_t tokens_per_micro_batch);

}  // namespace r1
