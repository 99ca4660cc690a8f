// Recipe names of the loss options.
#include <array>
#include <string>
#include <utility>

#include "core/error.h"
#include "rl/policy_loss.h"

namespace r1 {
namespace {

template <class E, std::size_t N>
E parse(const char* key, std::string_view text, const std::array<std::pair<std::string_view, E>, N>& names) {
  std::string known;
  for (const auto& [name, value] : names) {
    if (name == text) return value;
    known += (known.empty() ? "" : ", ") + std::string(name);
  }
  throw ConfigError(message(key, " is \"", text, "\"; it can be ", known));
}

template <class E>
using Names = std::pair<std::string_view, E>;

}  // namespace

RatioLevel parse_ratio_level(std::string_view text) {
  return parse("rl.loss.ratio_level", text,
               std::array<Names<RatioLevel>, 3>{{{"token", RatioLevel::kToken},
                                                 {"sequence", RatioLevel::kSequence},
                                                 {"sequence_token", RatioLevel::kSequenceToken}}});
}

KlEstimator parse_kl_estimator(std::string_view text) {
  return parse("rl.kl.estimator", text,
               std::array<Names<KlEstimator>, 4>{{{"k1", KlEstimator::kK1},
                                                  {"k2", KlEstimator::kK2},
                                                  {"k3", KlEstimator::kK3},
                                                  {"k3+", KlEstimator::kK3Plus}}});
}

Aggregation parse_aggregation(std::string_view text) {
  return parse("rl.loss.aggregation", text,
               std::array<Names<Aggregation>, 4>{{{"seq_mean_token_mean", Aggregation::kSeqMeanTokenMean},
                                                  {"token_mean", Aggregation::kTokenMean},
                                                  {"seq_mean_token_sum_norm", Aggregation::kSeqMeanTokenSumNorm},
                                                  {"seq_mean_token_sum", Aggregation::kSeqMeanTokenSum}}});
}

}  // namespace r1
