#include "preference/dpo_objective.h"

#include <cmath>
#include <cstring>
#include <numeric>
#include <optional>
#include <utility>

#include "core/digest.h"
#include "core/error.h"
#include "model/safetensors.h"
#include "rl/train_samples.h"
#include "sft/held_out.h"

namespace r1 {
namespace {

constexpr const char* kLogprobs = "answer_logprobs";

// Sums over the tokens of each sample of the micro-batch [batch.samples]; throws NumericError naming the sample.
std::vector<double> sums_of(std::span<const TrainSample> samples, const MicroBatch& batch, std::span<const float> logprobs) {
  std::vector<double> sums(batch.samples.size(), 0.0);
  std::size_t place = 0;
  for (std::size_t i = 0; i < logprobs.size(); ++i) {
    const auto [sample, position] = batch.tokens[i];
    if (!std::isfinite(logprobs[i]))
      throw NumericError(message("log-probability ", logprobs[i], " of token ", position, " of ", samples[static_cast<std::size_t>(sample)].name));
    while (batch.samples[place] != sample) ++place;
    sums[place] += logprobs[i];
  }
  return sums;
}

std::vector<std::int32_t> all_of(std::span<const TrainSample> samples) {
  std::vector<std::int32_t> all(samples.size());
  std::iota(all.begin(), all.end(), 0);
  return all;
}

void add_answer_logprobs(ScoringModel& model, std::span<const TrainSample> samples, std::span<const std::int32_t> chosen, std::int64_t budget,
                         std::vector<double>& out) {
  for (const auto& part : plan_micro_batches(samples, chosen, budget)) {
    const MicroBatch batch = build_micro_batch(samples, part);
    const std::vector<double> sums = sums_of(samples, batch, model.evaluate(batch.batch, 1.f, false).logprobs);
    for (std::size_t i = 0; i < sums.size(); ++i) out[static_cast<std::size_t>(batch.samples[i])] = sums[i];
  }
}

// What `file` holds, if it is of these samples and this reference.
std::optional<std::vector<double>> read_logprobs(const std::filesystem::path& file, const std::string& digest, std::size_t samples) {
  if (!std::filesystem::exists(file)) return std::nullopt;
  const SafetensorsFile found(file);
  const TensorView* values = found.find(kLogprobs);
  const auto of = found.metadata().find("digest");
  if (!values || of == found.metadata().end() || of->second != digest || values->dtype != DType::kF64 ||
      static_cast<std::size_t>(values->elements()) != samples)
    return std::nullopt;
  std::vector<double> out(samples);
  std::memcpy(out.data(), values->data, values->bytes());
  return out;
}

}  // namespace

std::vector<double> answer_logprobs(ScoringModel& model, std::span<const TrainSample> samples, std::int64_t budget) {
  std::vector<double> out(samples.size(), 0.0);
  add_answer_logprobs(model, samples, all_of(samples), budget, out);
  return out;
}

std::vector<double> cached_answer_logprobs(const std::filesystem::path& file, ScoringModel& reference, const WeightDigest& reference_digest,
                                           std::span<const TrainSample> samples, std::int64_t budget, const Ranks& ranks) {
  const std::string digest = to_hex(digest_of(samples)) + "-" + to_hex(reference_digest);
  std::string known;
  if (ranks.rank() == 0)
    if (const auto found = read_logprobs(file, digest, samples.size())) known = bytes_of(std::span<const double>(*found));
  ranks.broadcast(known, "the reference's log-probabilities");
  if (!known.empty()) return values_of<double>(known);
  const auto shares = ranks.shares(samples, all_of(samples));
  std::vector<double> out(samples.size(), 0.0);
  ranks.agree("the reference's log-probabilities",
              [&] { add_answer_logprobs(reference, samples, shares[static_cast<std::size_t>(ranks.rank())], budget, out); });
  const std::vector<std::string> all = ranks.gather(bytes_of(std::span<const double>(out)), "the reference's log-probabilities");
  for (std::size_t r = 0; r < all.size(); ++r) {
    const std::vector<double> theirs = values_of<double>(all[r]);
    for (const std::int32_t i : shares[r]) out[static_cast<std::size_t>(i)] = theirs[static_cast<std::size_t>(i)];
  }
  if (ranks.rank() != 0) return out;
  SafetensorsWriteOptions options;
  options.metadata = {{"digest", digest}};
  const TensorView view{kLogprobs, DType::kF64, {static_cast<std::int64_t>(out.size())}, reinterpret_cast<const std::byte*>(out.data()), -1};
  write_safetensors(file, {&view, 1}, options);
  return out;
}

DpoObjective::DpoObjective(PolicyModel& policy, Data train, Data held_out, const DpoOptions& options, const Ranks* ranks)
    : policy_(policy), ranks_(ranks ? *ranks : one_process_), train_(std::move(train)), held_out_(std::move(held_out)), options_(options) {
  for (const Data* d : {&train_, &held_out_})
    R1_CHECK(d->set.pairs && d->ref_logprobs.size() == d->set.samples.size(), "DPO needs pairs and a reference for each answer");
  if (options.label_smoothing != 0 && options.kind != DpoLoss::kSigmoid) throw ConfigError("dpo.label_smoothing belongs to dpo.loss: sigmoid");
}

std::vector<std::int64_t> DpoObjective::begin_update(std::int64_t, std::span<const std::int64_t> examples) {
  examples_.assign(examples.begin(), examples.end());
  sums_ = {};
  return rows_of(train_.set, examples);
}

std::vector<float> DpoObjective::judge(const Data& data, const MicroBatch& batch, std::span<const float> logprobs, std::int64_t update_size,
                                       Sums& sums) const {
  const std::vector<double> of_sample = sums_of(data.set.samples, batch, logprobs);
  std::vector<double> logp[2], ref[2];
  std::vector<std::int64_t> tokens[2];
  for (std::size_t i = 0; i < batch.samples.size(); ++i) {
    const auto at = static_cast<std::size_t>(batch.samples[i]);
    logp[i % 2].push_back(of_sample[i]);
    ref[i % 2].push_back(data.ref_logprobs[at]);
    const auto& mask = data.set.samples[at].loss_mask;
    tokens[i % 2].push_back(std::accumulate(mask.begin(), mask.end(), std::int64_t{0}));
  }
  const DpoOutput out = dpo_loss({logp[0], logp[1], ref[0], ref[1], tokens[0], tokens[1]}, options_, update_size);
  sums.loss += out.loss;
  for (std::size_t p = 0; p < logp[0].size(); ++p) {
    sums.chosen += out.reward_chosen[p], sums.rejected += out.reward_rejected[p];
    sums.right += out.reward_chosen[p] > out.reward_rejected[p];
    sums.logp_chosen += logp[0][p], sums.logp_rejected += logp[1][p];
    ++sums.pairs;
  }
  std::vector<float> gradient;
  std::size_t place = 0;  // of the token's sample in the batch
  for (const TokenRef& t : batch.tokens) {
    while (batch.samples[place] != t.sample) ++place;
    gradient.push_back(static_cast<float>((place % 2 == 0 ? out.d_chosen : out.d_rejected)[place / 2]));
  }
  return gradient;
}

void DpoObjective::train(std::span<const std::int32_t> places) {
  const MicroBatch batch = build_micro_batch(train_.set.samples, samples_of(train_.set, at_places(examples_, places)));
  const LogprobRows rows = policy_.forward(batch.batch, 1.f, false);
  policy_.backward(judge(train_, batch, rows.logprobs, static_cast<std::int64_t>(examples_.size()), sums_), {});
}

Metrics DpoObjective::metrics_of(const Sums& s, const std::string& prefix) {
  const auto n = static_cast<double>(s.pairs);
  return {{prefix + "loss", s.loss},
          {prefix + "rewards/chosen", s.chosen / n},
          {prefix + "rewards/rejected", s.rejected / n},
          {prefix + "rewards/accuracies", s.right / n},
          {prefix + "rewards/margins", (s.chosen - s.rejected) / n},
          {prefix + "logps/chosen", s.logp_chosen / n},
          {prefix + "logps/rejected", s.logp_rejected / n}};
}

Metrics DpoObjective::report() { return metrics_of(sums_, ""); }

Metrics DpoObjective::evaluate(std::int64_t budget) {
  const std::int64_t n = held_out_.set.size();
  std::vector<std::int64_t> all(static_cast<std::size_t>(n));
  std::iota(all.begin(), all.end(), std::int64_t{0});
  const std::vector<std::int64_t> rows = rows_of(held_out_.set, all);
  const Sums sums = over_lanes<Sums>(ranks_, split_rows(rows, ranks_.lanes()), rows, budget, [&](std::span<const std::int32_t> part, Sums& s) {
    const MicroBatch batch = build_micro_batch(held_out_.set.samples, samples_of(held_out_.set, at_places(all, part)));
    judge(held_out_, batch, policy_.evaluate(batch.batch, 1.f, false).logprobs, n, s);
  });
  return metrics_of(sums, "eval/");
}

}  // namespace r1
