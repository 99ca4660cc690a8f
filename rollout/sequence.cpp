#include "rollout/sequence.h"

#include <utility>

namespace r1 {

std::int32_t Sequence::length() const { return group->prompt_length() + static_cast<std::int32_t>(tokens.size()); }

TokenId Sequence::token_at(std::int32_t position) const {
  const std::int32_t own = position - group->prompt_length();
  return own < 0 ? group->prompt_tokens[static_cast<std::size_t>(position)] : tokens[static_cast<std::size_t>(own)];
}

Group::Group(RequestId id, std::uint64_t number, std::vector<TokenId> tokens, int first_sample, int num_samples)
    : request(id), order(number), prompt_tokens(std::move(tokens)), samples(static_cast<std::size_t>(num_samples)),
      unfinished(num_samples), waiting(num_samples) {
  prompt.group = this;
  for (Sequence& s : samples) {
    s.group = this;
    s.sample = first_sample++;
  }
}

bool served_before(const Sequence& a, const Sequence& b) {
  return a.group->order != b.group->order ? a.group->order < b.group->order : a.sample < b.sample;
}

}  // namespace r1
