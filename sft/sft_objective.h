// Supervised fine-tuning: cross entropy on the trained tokens of an update's examples, the mean over all of them, whatever the micro-batches.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "rl/policy.h"
#include "sft/example_trainer.h"
#include "sft/examples.h"

namespace r1 {

class SftObjective : public ExampleObjective {
 public:
  // held_out may be empty. The policy outlives the objective, as do the ranks, which share the held-out examples; null = one process.
  SftObjective(PolicyModel& policy, std::vector<SftExample> train, std::vector<SftExample> held_out, const Ranks* ranks = nullptr);

  // From now on the multi-token prediction loss is part of the loss, times `factor`: its mean over the update's trained tokens.
  void set_prediction_loss(double factor) { prediction_factor_ = factor; }
  std::int64_t size() const override { return std::ssize(train_); }
  TrainedModel& model() override { return policy_; }
  WeightSnapshot weights_to_save(WeightVersion version) const override { return policy_.host_weights(version); }
  std::vector<std::int64_t> begin_update(std::int64_t update, std::span<const std::int64_t> examples) override;
  void train(std::span<const std::int32_t> places) override;
  // As TRL's SFTTrainer names them: loss, entropy (nats a trained token), mean_token_accuracy (share of trained tokens that are the
  // likeliest; where the device says which); and train/trained_tokens, mtp_loss.
  Metrics report() override;
  std::string take_sums() override { return bytes_of(std::span<const Sums>(std::vector<Sums>{std::exchange(sums_, Sums{})})); }
  void add_sums(std::string_view bytes) override { sums_.add(values_of<Sums>(bytes).at(0)); }
  std::string name(std::int64_t example) const override { return train_[static_cast<std::size_t>(example)].name; }
  bool has_evaluation() const override { return !held_out_.empty(); }
  Metrics evaluate(std::int64_t tokens_per_micro_batch) override;  // the same under eval/, and eval/num_tokens

 private:
  // Over trained tokens.
  struct Sums {
    double nll = 0, entropy = 0;
    std::int64_t tokens = 0, right = 0;
    double ahead = 0;             // of the prediction layer
    std::int64_t ahead_rows = 0;
    bool knows_right = true;
    void add(const Sums& o) {
      nll += o.nll, entropy += o.entropy, tokens += o.tokens, right += o.right, ahead += o.ahead, ahead_rows += o.ahead_rows;
      knows_right = knows_right && o.knows_right;
    }
  };
  // A micro-batch of `examples`, added to `sums`. `weight` of a token in the gradient; 0: none is made.
  void pass(std::span<const TrainSample> examples, std::span<const std::int32_t> places, double weight, Sums& sums);
  static Metrics metrics_of(const Sums& sums, const std::string& prefix);

  PolicyModel& policy_;
  const Ranks one_process_;
  const Ranks& ranks_;
  std::vector<SftExample> train_;
  std::vector<TrainSample> held_out_;
  std::vector<TrainSample> update_;  // examples of the update
  std::int64_t update_tokens_ = 0;   // trained ones
  double prediction_factor_ = 0;
  Sums sums_;
};

}  // namespace r1
