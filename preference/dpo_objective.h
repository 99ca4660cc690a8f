// Direct preference optimisation: the policy against frozen log-probabilities of the reference, computed once.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "preference/preference_loss.h"
#include "preference/preference_set.h"
#include "rl/policy.h"
#include "rl/ranks.h"
#include "sft/example_trainer.h"

namespace r1 {

// Sum of the log-probabilities of each sample's marked tokens, nats [samples]; the same bits for any budget.
std::vector<double> answer_logprobs(ScoringModel& model, std::span<const TrainSample> samples, std::int64_t tokens_per_micro_batch);

// The same of a reference, kept in a file for later starts: read if it is of these samples and this model, else computed and written.
// `reference_digest`: of the model's weights. On several ranks each computes its share; rank 0 alone has the file. Throws IoError.
std::vector<double> cached_answer_logprobs(const std::filesystem::path& file, ScoringModel& reference, const WeightDigest& reference_digest,
                                           std::span<const TrainSample> samples, std::int64_t tokens_per_micro_batch, const Ranks& ranks = {});

class DpoObjective : public ExampleObjective {
 public:
  struct Data {
    PreferenceSet set;                // pairs, marked on their answers' tokens
    std::vector<double> ref_logprobs; // [2 pairs]
  };
  // held_out may be empty. The policy outlives the objective, as do the ranks, which share the held-out pairs; null = one process.
  // Throws ConfigError for options that contradict each other.
  DpoObjective(PolicyModel& policy, Data train, Data held_out, const DpoOptions& options, const Ranks* ranks = nullptr);

  std::int64_t size() const override { return train_.set.size(); }
  TrainedModel& model() override { return policy_; }
  WeightSnapshot weights_to_save(WeightVersion version) const override { return policy_.host_weights(version); }
  std::vector<std::int64_t> begin_update(std::int64_t update, std::span<const std::int64_t> examples) override;
  void train(std::span<const std::int32_t> places) override;
  // loss and TRL's names: rewards/chosen, rewards/rejected, rewards/accuracies, rewards/margins, logps/chosen, logps/rejected.
  Metrics report() override;
  std::string take_sums() override { return bytes_of(std::span<const Sums>(std::vector<Sums>{std::exchange(sums_, Sums{})})); }
  void add_sums(std::string_view bytes) override { sums_.add(values_of<Sums>(bytes).at(0)); }
  std::string name(std::int64_t example) const override { return train_.set.samples[static_cast<std::size_t>(2 * example)].name; }
  bool has_evaluation() const override { return held_out_.set.size() > 0; }
  Metrics evaluate(std::int64_t tokens_per_micro_batch) override;  // the same under eval/

 private:
  struct Sums {
    double loss = 0, chosen = 0, rejected = 0, right = 0, logp_chosen = 0, logp_rejected = 0;
    std::int64_t pairs = 0;
    void add(const Sums& o) {
      loss += o.loss, chosen += o.chosen, rejected += o.rejected, right += o.right, logp_chosen += o.logp_chosen, logp_rejected += o.logp_rejected;
      pairs += o.pairs;
    }
  };
  // Of a micro-batch: gradients of its log-probabilities.
  std::vector<float> judge(const Data& data, const MicroBatch& batch, std::span<const float> logprobs, std::int64_t update_size, Sums& sums) const;
  static Metrics metrics_of(const Sums& sums, const std::string& prefix);

  PolicyModel& policy_;
  const Ranks one_process_;
  const Ranks& ranks_;
  Data train_, held_out_;
  DpoOptions options_;
  std::vector<std::int64_t> examples_;  // of the update
  Sums sums_;
};

}  // namespace r1
