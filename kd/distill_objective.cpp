#include "kd/distill_objective.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "core/rng.h"
#include "core/serialize.h"
#include "rl/train_samples.h"
#include "sft/held_out.h"

namespace r1 {
namespace {

constexpr std::uint64_t kStream = 0x6469737469ull;  // "disti": the draws of student_share

std::int64_t rows_of(const TrainSample& s) {
  const auto last = std::find(s.loss_mask.rbegin(), s.loss_mask.rend(), std::uint8_t{1});
  return static_cast<std::int64_t>(s.loss_mask.rend() - last) - 1;
}

}  // namespace

StudentSampler make_student_sampler(RolloutEngine& engine, PolicyModel& policy, const SamplingOptions& sampling, std::uint64_t seed, const Ranks* ranks) {
  return [&engine, &policy, sampling, seed, several = ranks ? *ranks : Ranks()](std::int64_t update, std::span<const TrainSample> texts) {
    engine.load_weights(policy.weights(static_cast<WeightVersion>(update)));
    std::vector<RolloutRequest> requests;
    const auto first = static_cast<std::size_t>(several.rank()), world = static_cast<std::size_t>(several.world());
    for (std::size_t i = first; i < texts.size(); i += world) {
      RolloutRequest r;
      r.prompt.id = texts[i].name;
      r.prompt.tokens.assign(texts[i].tokens.begin(), texts[i].tokens.begin() + texts[i].prompt_length);
      r.sampling = sampling;
      r.key = {seed, static_cast<std::uint64_t>(update), i, 0};
      requests.push_back(std::move(r));
    }
    std::string mine;
    several.agree("the student's answers", [&] {
      for (const SampleGroup& g : generate(engine, std::move(requests))) append_record(mine, to_bytes(g));
    });
    const std::vector<std::string> all = several.gather(mine, "the student's answers");
    std::vector<ScoredGroup> groups(texts.size());
    for (std::size_t r = 0; r < world; ++r) {
      std::string_view rest = all[r];
      for (std::size_t i = r; i < texts.size(); i += world) {
        Score score;
        score.parts["none"] = 0;
        groups[i] = {sample_group_from_bytes(take_record(rest)), {score}};
      }
    }
    TrainSampleOptions options;
    options.advantage.kind = AdvantageKind::kNone;
    return make_train_samples(groups, options).samples;
  };
}

DistillObjective::DistillObjective(Parts parts, const DistillOptions& options)
    : parts_(std::move(parts)), ranks_(parts_.ranks ? *parts_.ranks : one_process_), options_(options) {
  R1_CHECK(parts_.pass && parts_.student, "distillation without a teacher or a student");
  R1_CHECK(options.student_share == 0 || (parts_.live && parts_.sampler), "the student's answers need a live teacher and an engine");
  R1_CHECK(parts_.held_out.empty() || parts_.held_out_pass, "held-out texts without a teacher");
}

std::vector<std::int64_t> DistillObjective::begin_update(std::int64_t update, std::span<const std::int64_t> examples) {
  texts_.clear();
  index_.clear();
  loss_ = 0;
  for (const std::int64_t e : examples) {
    texts_.push_back(parts_.train[static_cast<std::size_t>(e)]);
    index_.push_back(static_cast<std::int32_t>(e));
  }
  on_student_ =
      options_.student_share > 0 && StreamRng(options_.seed, mix64(static_cast<std::uint64_t>(update) ^ kStream)).uniform() < options_.student_share;
  if (on_student_) texts_ = parts_.sampler(update, texts_);
  trained_tokens_ = 0;
  std::vector<std::int64_t> rows;
  for (std::size_t i = 0; i < texts_.size(); ++i) {
    texts_[i].group = i;
    trained_tokens_ += trained_tokens(texts_[i]);
    rows.push_back(rows_of(texts_[i]));
  }
  R1_CHECK(trained_tokens_ > 0, "an update without a trained token");
  return rows;
}

void DistillObjective::train(std::span<const std::int32_t> places) {
  MicroBatch batch = build_micro_batch(texts_, places);
  const std::vector<TokenRef> own = batch.tokens;  // by place in the update
  if (!on_student_)
    for (TokenRef& t : batch.tokens) t.sample = index_[static_cast<std::size_t>(t.sample)];
  const double weight = 1 / static_cast<double>(trained_tokens_);
  const std::vector<double> losses = (on_student_ ? parts_.live : parts_.pass)->train(batch, options_.kd, weight);
  for (std::size_t i = 0; i < losses.size(); ++i) {
    if (!std::isfinite(losses[i]))
      throw NumericError(
          message("the divergence at token ", own[i].position, " of ", texts_[static_cast<std::size_t>(own[i].sample)].name, " is ", losses[i]));
    loss_ += losses[i] * weight;
  }
}

std::string DistillObjective::take_sums() {
  const double loss = std::exchange(loss_, 0.0);
  return bytes_of(std::span<const double>(&loss, 1));
}

Metrics DistillObjective::report() {
  return {{"loss", loss_},
          {"train/trained_tokens", static_cast<double>(trained_tokens_)},
          {"train/samples", static_cast<double>(texts_.size())},
          {"distill/on_student", on_student_ ? 1.0 : 0.0},
          {"completions/mean_length", static_cast<double>(trained_tokens_) / static_cast<double>(texts_.size())}};
}

Metrics DistillObjective::evaluate(std::int64_t budget) {
  struct Sums {
    double losses[3] = {0, 0, 0};
    std::int64_t tokens = 0;
    void add(const Sums& o) {
      for (int k = 0; k < 3; ++k) losses[k] += o.losses[k];
      tokens += o.tokens;
    }
  };
  std::vector<std::int64_t> rows;
  for (const TrainSample& s : parts_.held_out) rows.push_back(rows_of(s));
  KdOptions kinds[3] = {options_.kd, options_.kd, options_.kd};
  kinds[1].divergence = Divergence::kForward, kinds[2].divergence = Divergence::kReverse;
  const Sums sums = over_lanes<Sums>(ranks_, split_rows(rows, ranks_.lanes()), rows, budget, [&](std::span<const std::int32_t> part, Sums& s) {
    const MicroBatch batch = build_micro_batch(parts_.held_out, part);
    const std::vector<double> losses = parts_.held_out_pass->evaluate(batch, kinds);
    for (std::size_t i = 0; i < losses.size(); ++i) s.losses[i % 3] += losses[i];
    s.tokens += static_cast<std::int64_t>(batch.tokens.size());
  });
  const double n = static_cast<double>(sums.tokens), square = options_.kd.temperature * options_.kd.temperature;
  return {{"eval/loss", sums.losses[0] / n}, {"eval/forward_kl", sums.losses[1] / (n * square)}, {"eval/reverse_kl", sums.losses[2] / (n * square)}};
}

}  // namespace r1
