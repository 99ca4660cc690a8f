#include "rollout/completion_builder.h"

#include <utility>

namespace r1 {

CompletionBuilder::CompletionBuilder(std::shared_ptr<const StopRules> rules, std::shared_ptr<const Tokenizer> tokenizer, bool want_entropy)
    : rules_(rules), tokenizer_(std::move(tokenizer)), want_entropy_(want_entropy), matcher_(std::move(rules)) {}

std::optional<StopReason> CompletionBuilder::add(TokenId token, float logprob, float entropy, WeightVersion version,
                                                 const WeightDigest& digest, bool stream) {
  Completion& c = completion_;
  c.logprobs.push_back(logprob);
  if (want_entropy_) c.entropies.push_back(entropy);
  if (c.version_runs.empty() || c.version_runs.back().version != version || c.version_runs.back().digest != digest)
    c.version_runs.push_back({count_, version, digest});
  ++count_;
  std::string text;
  if (tokenizer_ && (stream || !rules_->strings.empty())) {
    if (!decoder_) decoder_.emplace(tokenizer_);
    text = decoder_->push(token);
  }
  return matcher_.push(token, count_, text);
}

std::string CompletionBuilder::take_text(bool all) {
  if (all && decoder_ && !matcher_.cut()) matcher_.append(decoder_->finish());
  return matcher_.take(all);
}

Completion CompletionBuilder::finish(std::vector<TokenId> tokens, StopReason reason) {
  completion_.tokens = std::move(tokens);
  completion_.stop = reason;
  if (matcher_.cut()) completion_.text = matcher_.text();
  else if (tokenizer_) completion_.text = tokenizer_->decode(completion_.tokens);
  return std::move(completion_);
}

}  // namespace r1
