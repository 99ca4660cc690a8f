#include "rl/prompt_stream.h"

#include <utility>

#include "core/error.h"

namespace r1 {

ShuffledPrompts::ShuffledPrompts(std::vector<Prompt> prompts, std::uint64_t seed, bool shuffle)
    : prompts_(std::move(prompts)), order_(prompts_.size(), seed, shuffle) {
  if (prompts_.empty()) throw DataError("there is no prompt to train on");
}

}  // namespace r1
