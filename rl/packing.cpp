#include "rl/packing.h"

#include <algorithm>

#include "core/error.h"

namespace r1 {
namespace {

// Rows of a sample: [0, end), where row end-1 predicts the last trained token. 0 = trains nothing.
std::int32_t row_end(const TrainSample& s) {
  const auto last = std::find_if(s.loss_mask.rbegin(), s.loss_mask.rend(), [](std::uint8_t m) { return m != 0; });
  return last == s.loss_mask.rend() ? 0 : static_cast<std::int32_t>(s.loss_mask.rend() - last) - 1;
}

void check_sample(const TrainSample& s) {
  const std::size_t t = s.tokens.size();
  R1_CHECK(s.loss_mask.size() == t && s.behavior_logprobs.size() == t && s.advantages.size() == t &&
               (s.old_logprobs.empty() || s.old_logprobs.size() == t),
           "sample ", s.name, ": per-token vectors differ in length from its ", t, " tokens");
  R1_CHECK(t == 0 || s.loss_mask[0] == 0, "sample ", s.name, ": its first token cannot train, nothing predicts it");
  R1_CHECK(
      std::none_of(s.loss_mask.begin(), s.loss_mask.begin() + s.prompt_length, [](std::uint8_t m) { return m != 0; }),
      "sample ", s.name, ": a token of the shared prompt is marked as trained");
}

void append_rows(PackedBatch& batch, const TrainSample& s, std::int32_t begin, std::int32_t end) {
  for (std::int32_t t = begin; t < end; ++t) {
    batch.tokens.push_back(s.tokens[static_cast<std::size_t>(t)]);
    batch.positions.push_back(t);
  }
  if (s.experts.empty()) return;
  const std::size_t choices = s.experts.size() / (s.tokens.size() - 1);
  R1_CHECK(choices * (s.tokens.size() - 1) == s.experts.size(), "sample ", s.name, ": ", s.experts.size(), " experts for ", s.tokens.size(), " tokens");
  batch.experts.insert(batch.experts.end(), s.experts.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(begin) * choices),
                       s.experts.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(end) * choices));
}

std::int32_t size(const PackedBatch& batch) { return static_cast<std::int32_t>(batch.tokens.size()); }

// Appends one sample whose rows [0, shared) stand at `prefix` already (shared = 0: none do).
void append_sample(MicroBatch& out, const TrainSample& s, std::int32_t index, std::int32_t prefix,
                   std::int32_t shared) {
  const std::int32_t end = row_end(s), begin = size(out.batch);
  append_rows(out.batch, s, shared, end);
  if (end > shared) {
    cpu::AttentionSequence sequence{begin, begin + end - shared, -1, -1};
    if (shared > 0) sequence.prefix_begin = prefix, sequence.prefix_end = prefix + shared;
    out.batch.sequences.push_back(sequence);
  }
  for (std::int32_t t = 1; t <= end; ++t) {
    if (!s.loss_mask[static_cast<std::size_t>(t)]) continue;
    const std::int32_t row = t - 1;
    out.batch.predictors.push_back(row < shared ? prefix + row : begin + row - shared);
    out.batch.targets.push_back(s.tokens[static_cast<std::size_t>(t)]);
    out.tokens.push_back({index, t});
  }
  out.samples.push_back(index);
}

// The end of the run of `chosen` that starts at i and belongs to one group.
std::size_t group_end(std::span<const TrainSample> samples, std::span<const std::int32_t> chosen, std::size_t i) {
  std::size_t j = i + 1;
  while (j < chosen.size() && samples[chosen[j]].group == samples[chosen[i]].group) ++j;
  return j;
}

}  // namespace

MicroBatchPlan plan_micro_batches(std::span<const TrainSample> samples, std::span<const std::int32_t> chosen,
                                  std::int64_t token_budget) {
  R1_CHECK(token_budget > 0, "tokens_per_micro_batch is ", token_budget);
  std::vector<std::int32_t> training;
  for (std::int32_t i : chosen) {
    check_sample(samples[i]);
    if (row_end(samples[i]) > 0) training.push_back(i);
  }
  MicroBatchPlan plan;
  std::int64_t used = token_budget;  // of the open micro-batch; full at the start
  for (std::size_t i = 0; i < training.size();) {
    const std::size_t end = group_end(samples, training, i);
    const std::int64_t prompt = samples[training[i]].prompt_length;
    std::int64_t whole = prompt;
    for (std::size_t k = i; k < end; ++k) whole += row_end(samples[training[k]]) - prompt;
    bool prompt_there = false;  // in the open micro-batch
    if (used + whole > token_budget) used = token_budget;
    for (; i < end; ++i) {
      const std::int64_t own = row_end(samples[training[i]]) - prompt;
      if (used + own + (prompt_there ? 0 : prompt) > token_budget || plan.empty()) {
        plan.emplace_back();
        used = 0;
        prompt_there = false;
      }
      plan.back().push_back(training[i]);
      used += own + (prompt_there ? 0 : prompt);
      prompt_there = true;
    }
  }
  return plan;
}

MicroBatch build_micro_batch(std::span<const TrainSample> samples, std::span<const std::int32_t> chosen) {
  MicroBatch out;
  for (std::size_t i = 0; i < chosen.size();) {
    const std::size_t end = group_end(samples, chosen, i);
    const TrainSample& first = samples[chosen[i]];
    std::int32_t prefix = -1, shared = 0;
    if (end - i > 1 && first.prompt_length > 0) {
      prefix = size(out.batch);
      shared = first.prompt_length;
      append_rows(out.batch, first, 0, shared);
      out.batch.sequences.push_back({prefix, prefix + shared, -1, -1});
    }
    for (; i < end; ++i) {
      const TrainSample& s = samples[chosen[i]];
      R1_CHECK(s.prompt_length == first.prompt_length &&
                   std::equal(s.tokens.begin(), s.tokens.begin() + s.prompt_length, first.tokens.begin()),
               "samples ", first.name, " and ", s.name, " are of one group but differ in their prompt");
      append_sample(out, s, chosen[i], prefix, shared);
    }
  }
  return out;
}

}  // namespace r1
