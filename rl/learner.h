// The learner: training samples of a rollout -> policy updates, by GRPO and its relatives, PPO included. Knows nothing of prompts,
// text or rewards.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/types.h"
#include "rl/coefficients.h"
#include "rl/critic.h"
#include "rl/expert_balance.h"
#include "rl/optimizer.h"
#include "rl/packing.h"
#include "rl/per_sample.h"
#include "rl/policy.h"
#include "rl/policy_loss.h"
#include "rl/ranks.h"
#include "rl/token_selection.h"
#include "rl/token_trace.h"

namespace r1 {

class UpdateMetrics;

// The denominator of the update ratio (algorithms: "Train/sample mismatch").
enum class OldPolicy : std::uint8_t {
  kRecompute,  // decoupled: the learner's own log-probabilities at the start of the rollout; mismatch weights apply
  kBehavior,   // bypass: the sampler's; the ratio then holds the mismatch already and no weight is applied
};
OldPolicy parse_old_policy(std::string_view name);  // recompute, behavior; throws ConfigError

struct GrpoOptions {
  PolicyLossOptions loss;
  RouterOptions router;
  OptimizerOptions optimizer;
  float temperature = 1.f;              // of the rollout: log-probabilities are of the distribution sampled from
  std::int64_t length_budget = 0;       // tokens an answer may have: the constant of seq_mean_token_sum_norm
  std::int64_t tokens_per_micro_batch = 8192;  // rows; memory only, the gradient is the same up to rounding
  int updates_per_rollout = 1;          // disjoint minibatches
  int passes_per_rollout = 1;           // times each is trained on
  OldPolicy old_policy = OldPolicy::kRecompute;
  std::int64_t reference_refresh = 0;   // reference <- policy every so many updates; 0 = never
  double kl_in_reward = 0;              // beta of a k1 penalty inside the token rewards; 0 = none
  AdaptiveKl adaptive_kl;               // of kl_in_reward, its start
  AdaptiveEntropy adaptive_entropy;     // of loss.entropy_coefficient, its start
  TokenSelectionOptions selection;      // costs one more forward pass an update
  std::optional<CriticOptions> critic;  // advantages by GAE: PPO
  bool whiten_advantages = false;       // over all trained tokens of the rollout
  double whiten_epsilon = 1e-6;
  bool want_entropy = false;            // metric `entropy` from the trained forward pass
  // Leave out of the passes what cannot have a gradient (advantage 0 with no KL and no entropy term); it counts in the
  // denominators all the same, so the gradient is that of the full batch.
  bool skip_zero_advantages = true;
  // Log-probabilities of rollout and learner have the same bits: a first update where they do not is an error, not a weight.
  bool exact = false;
  // Samples may be of older weights (TrainSample::oldest): exact then speaks of those alone that the present weights drew whole.
  bool stale_samples = false;
  std::uint64_t seed = 0;               // of the minibatch draw

  bool needs_reference() const { return loss.kl_coefficient != 0 || kl_in_reward != 0; }
  // Coefficients change, or there is a critic: a checkpoint holds numbers of them.
  bool has_numbers() const { return critic.has_value() || adaptive_entropy.enabled || adaptive_kl.target > 0; }
  // Something in the loss, or a statistic of the update, reads tokens with advantage 0 too.
  bool needs_every_sample() const {
    return needs_reference() || loss.entropy_coefficient != 0 || adaptive_entropy.enabled || selection.active() || loss.mismatch.normalize;
  }
};

struct StepReport {
  bool updated = false;                   // false: no sample had a trained token; nothing changed
  bool reference_refreshed = false;
  std::map<std::string, double> metrics;  // loss, grad_norm, learning_rate, kl, clip_ratio/..., mismatch/..., train/...
};

// Not thread-safe. The models outlive it.
class GrpoLearner {
 public:
  // `reference` is needed iff options.needs_reference(), `critic` iff options.critic; they hold their weights already. Throws
  // ConfigError.
  // `ranks`: of a data-parallel run, to which policy and critic were joined; outlives it, null = one process. Then every rank's learner
  // is given the same samples and makes the same calls; each runs its lanes of every pass, and all have the same numbers after a call.
  GrpoLearner(PolicyModel& policy, ScoringModel* reference, const GrpoOptions& options, ValueModel* critic = nullptr, Ranks* ranks = nullptr);
  ~GrpoLearner();

  // Takes a rollout's samples (groups adjacent), computes what is fixed for the rollout: reference and old
  // log-probabilities, token advantages, minibatches. `rollout` is its number.
  void begin_rollout(std::vector<TrainSample> samples, std::uint64_t rollout);
  bool rollout_done() const;
  // The next update of the rollout. Throws NumericError naming tensor and samples; the weights are then as before it.
  // Where a pass of it, or of begin_rollout(), does not fit into the GPU's memory, tokens_per_micro_batch is halved for good and
  // the work begins anew; GpuOutOfMemory leaves only when each sample is alone already.
  StepReport update();

  // Live weights; version = updates done.
  WeightSnapshot publish() const { return policy_.weights(version()); }
  WeightSnapshot weights_to_save() const { return policy_.host_weights(version()); }  // the same, on the host
  WeightVersion version() const { return static_cast<WeightVersion>(optimizer_.updates()); }
  WeightDigest digest() const { return policy_.digest(); }  // of the live weights
  const GrpoOptions& options() const { return options_; }
  void set_tokens_per_micro_batch(std::int64_t rows) { options_.tokens_per_micro_batch = rows; }  // between updates
  const std::vector<TrainSample>& samples() const { return samples_; }
  // Whether each update leaves what it did with its tokens, about 32 bytes a token. Off at first.
  void keep_traces(bool keep) { keep_traces_ = keep; }
  const std::vector<TokenTrace>& traces() const { return traces_; }  // of the last update; with several ranks of this one's share

  // ---- exact resume ----------------------------------------------------------------------------------------------
  // Views of master, moments, the reference if it was ever refreshed (reference.NAME), the critic (critic.NAME), coefficients that
  // follow measurements, and, inside a rollout, what was fixed at its start (rollout.NAME). Valid until the next call that changes
  // the learner.
  WeightSnapshot state() const;
  int next_update() const { return next_update_; }  // in the rollout
  // Bit for bit. If next_update > 0 the rollout goes on with `samples` as they were given to begin_rollout().
  void restore(const WeightSnapshot& state, std::int64_t updates, std::uint64_t rollout, int next_update,
               std::vector<TrainSample> samples);

 private:
  struct Pass;
  StepReport update_once();
  struct LaneSums;
  LaneSums train_lanes(const LossDenominator& denominator);  // of all ranks
  template <class Work> auto retried(std::span<const std::int32_t> chosen, Work&& work) -> decltype(work());  // with smaller micro-batches
  void check_exact(const Pass& pass, const MicroBatch& micro_batch) const;
  void prepare(std::vector<TrainSample> samples, std::uint64_t rollout);
  void finish_advantages();
  std::vector<std::int32_t> trainable(std::span<const std::int32_t> chosen) const;
  std::span<const std::int32_t> minibatch() const { return minibatches_[static_cast<std::size_t>(next_update_) % minibatches_.size()]; }
  bool decoupled() const { return options_.old_policy == OldPolicy::kRecompute; }
  // `entropies` may be null.
  void evaluate_into(ScoringModel& model, std::span<const std::int32_t> chosen, PerSample& logprobs, PerSample* entropies = nullptr);
  void evaluate_once(ScoringModel& model, std::span<const std::int32_t> chosen, PerSample& logprobs, PerSample* entropies);
  double mismatch_mean(std::span<const std::int32_t> chosen) const;
  void select(std::span<const std::int32_t> chosen, std::map<std::string, double>& metrics);
  std::vector<std::uint8_t> clipped_tokens(std::span<const std::int32_t> chosen, std::span<const float> logprobs,
                                           std::span<const float> advantages) const;
  void end_rollout();
  void trace(const MicroBatch& micro_batch, const Pass& pass);
  Pass forward_backward(const MicroBatch& micro_batch, const LossDenominator& denominator);
  void add_metrics(UpdateMetrics& metrics, const Pass& pass) const;
  [[noreturn]] void blame_gradient(const LossDenominator& denominator);

  PolicyModel& policy_;
  ScoringModel* reference_;
  GrpoOptions options_;
  Ranks one_process_;
  Ranks& ranks_;
  Optimizer optimizer_;
  bool reference_refreshed_ = false;

  std::vector<TrainSample> samples_;
  std::vector<std::vector<std::int32_t>> minibatches_;
  int next_update_ = 0;
  PerSample old_, ref_;  // empty vectors where not computed
  PerSample policy_weights_, drift_penalties_;  // of the update, empty without a selection
  PolicyLossOptions loss_;   // options_.loss with the entropy coefficient of the update
  double mean_kl_ = 0;       // mean k1 of the rollout, with kl_in_reward
  std::optional<Critic> critic_;
  double kl_in_reward_ = 0;  // beta of the rollout
  AdaptiveEntropy::State entropy_;
  bool keep_traces_ = false;
  std::vector<TokenTrace> traces_;
  mutable std::vector<float> packed_old_, packed_ref_;  // what state() views
  mutable std::vector<double> packed_numbers_;
};

}  // namespace r1
