#include "rollout/stop_matcher.h"

#include <algorithm>

namespace r1 {

StopRules::StopRules(const SamplingOptions& options, std::span<const TokenId> model_end_tokens)
    : stop_tokens(options.stop_tokens), strings(options.stop_strings), max_new_tokens(options.max_new_tokens) {
  if (!options.ignore_eos) end_tokens.assign(model_end_tokens.begin(), model_end_tokens.end());
  std::sort(end_tokens.begin(), end_tokens.end());
  std::sort(stop_tokens.begin(), stop_tokens.end());
}

StopMatcher::StopMatcher(std::shared_ptr<const StopRules> rules) : rules_(std::move(rules)) {}

std::optional<StopReason> StopMatcher::push(TokenId token, int count, std::string_view new_text) {
  text_ += new_text;
  const auto among = [token](const std::vector<TokenId>& sorted) { return std::binary_search(sorted.begin(), sorted.end(), token); };
  // The text is looked at even if a token ends the completion: it must be cut before a stop string either way.
  const bool string_found = match(new_text.size());
  if (among(rules_->end_tokens)) return StopReason::kEos;
  if (string_found || among(rules_->stop_tokens)) return StopReason::kStop;
  if (count >= rules_->max_new_tokens) return StopReason::kLength;
  return std::nullopt;
}

bool StopMatcher::match(std::size_t new_bytes) {
  if (cut_) return true;
  if (new_bytes == 0) return false;
  std::size_t first = std::string::npos;
  for (const std::string& stop : rules_->strings) {
    const std::size_t reach = new_bytes + stop.size() - 1;  // a match ends within the new bytes
    first = std::min(first, text_.find(stop, text_.size() - std::min(reach, text_.size())));
  }
  if (first == std::string::npos) return false;
  text_.resize(first);
  cut_ = true;
  return true;
}

std::string StopMatcher::take(bool all) {
  std::size_t end = text_.size();
  if (!all && !cut_) {
    // Hold back the longest end of the text that some stop string begins with.
    std::size_t held = 0;
    for (const std::string& stop : rules_->strings)
      for (std::size_t n = std::min(stop.size() - 1, text_.size() - taken_); n > held; --n)
        if (std::string_view(text_).substr(text_.size() - n) == std::string_view(stop).substr(0, n)) {
          held = n;
          break;
        }
    end -= held;
  }
  if (end <= taken_) return {};
  std::string out = text_.substr(taken_, end - taken_);
  taken_ = end;
  return out;
}

}  // namespace r1
