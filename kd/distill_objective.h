// Distillation over the whole vocabulary: the divergence from a teacher's distributions on given texts (mode logits), or on the student's
// own for a part of the updates (mode gkd, arXiv:2306.13649).
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "kd/kd_pass.h"
#include "rl/ranks.h"
#include "rollout/engine.h"
#include "sft/example_trainer.h"

namespace r1 {

// Answers of the student, with its present weights, to the prompts of `texts`, all tokens trained; update u of the run.
using StudentSampler = std::function<std::vector<TrainSample>(std::int64_t update, std::span<const TrainSample> texts)>;
// By an engine that shares the policy's weights; draws are keyed by (seed, update, place), whichever of the ranks makes them (null = one
// process). All outlive the sampler.
StudentSampler make_student_sampler(RolloutEngine& engine, PolicyModel& policy, const SamplingOptions& sampling, std::uint64_t seed,
                                    const Ranks* ranks = nullptr);

struct DistillOptions {
  KdOptions kd;
  double student_share = 0;  // lambda: the chance that an update is on the student's answers
  std::uint64_t seed = 0;    // of that draw
};

class DistillObjective : public ExampleObjective {
 public:
  struct Parts {
    PolicyModel* student = nullptr;
    std::vector<TrainSample> train, held_out;  // trained tokens are masked; held_out may be empty
    KdPass* pass = nullptr;                    // against the teacher of train
    KdPass* held_out_pass = nullptr;           // of held_out
    KdPass* live = nullptr;                    // of the student's answers; with student_share > 0
    StudentSampler sampler;                    // likewise
    const Ranks* ranks = nullptr;              // share the held-out texts; null = one process
  };
  // All outlive the objective.
  DistillObjective(Parts parts, const DistillOptions& options);

  std::int64_t size() const override { return static_cast<std::int64_t>(parts_.train.size()); }
  TrainedModel& model() override { return *parts_.student; }
  WeightSnapshot weights_to_save(WeightVersion version) const override { return parts_.student->host_weights(version); }
  std::vector<std::int64_t> begin_update(std::int64_t update, std::span<const std::int64_t> examples) override;
  void train(std::span<const std::int32_t> places) override;
  // loss: mean over trained tokens (times temperature^2), trained_tokens, on_student (1: the student's answers), mean answer length.
  Metrics report() override;
  std::string take_sums() override;
  void add_sums(std::string_view bytes) override { loss_ += values_of<double>(bytes).at(0); }
  std::string name(std::int64_t example) const override { return parts_.train[static_cast<std::size_t>(example)].name; }
  bool has_evaluation() const override { return !parts_.held_out.empty(); }
  // eval/loss, and at the same temperature eval/forward_kl, eval/reverse_kl: nats a token, without its square.
  Metrics evaluate(std::int64_t tokens_per_micro_batch) override;

 private:
  Parts parts_;
  const Ranks one_process_;
  const Ranks& ranks_;
  DistillOptions options_;
  std::vector<TrainSample> texts_;  // of the update
  bool on_student_ = false;
  std::int64_t trained_tokens_ = 0;
  double loss_ = 0;
  // Texts keep their index in `train`, which a store knows them by; the student's have none.
  std::vector<std::int32_t> index_;
};

}  // namespace r1
