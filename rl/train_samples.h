// Scored groups -> training samples: which tokens train, with which advantage.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/digest.h"
#include "core/types.h"
#include "rl/advantage.h"

namespace r1 {

struct TrainSampleOptions {
  AdvantageOptions advantage;
  bool overlong_filter = false;  // completions cut by the token budget train nothing (DAPO's overlong filtering)
};

struct TrainSet {
  std::vector<TrainSample> samples;  // in group order; a sample without a trained token is kept, with an empty mask
  std::int64_t zero_std_groups = 0, abstained_samples = 0, abstained_groups = 0, overlong_filtered = 0;
};

// Drops groups without any reward and samples without one. `kept` [groups] says which groups take part at all (empty =
// all); they are numbered 0, 1, ... (TrainSample::group).
// Trained tokens are those the policy drew. Throws NumericError for a behaviour log-probability that is not finite or
// is positive, naming the sample and the token.
TrainSet make_train_samples(std::span<const ScoredGroup> groups, const TrainSampleOptions& options,
                            std::span<const std::uint8_t> kept = {});

// Trained tokens of a sample.
std::int64_t trained_tokens(const TrainSample& sample);

// "a/0, a/1, b/3 and 5 more": for messages.
std::string names_of(std::span<const TrainSample> samples, std::span<const std::int32_t> chosen);

// Of the tokens and of which are trained: what a reference or a teacher said of them belongs to these samples.
Digest digest_of(std::span<const TrainSample> samples);

}  // namespace r1
