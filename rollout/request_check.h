// What a rollout request must satisfy before an engine takes it.
#pragma once

#include <cstdint>

#include "rollout/engine.h"

namespace r1 {

struct EngineLimits {
  std::int64_t context = 0;      // positions the model was made for
  std::int64_t vocab_size = 0;   // token ids are below
  std::int64_t kv_blocks = 0, kv_block_size = 0;
  bool has_tokenizer = true;
};

// Throws ConfigError that names the prompt, the value, the limit and the option to change.
void check_request(const RolloutRequest& request, const EngineLimits& limits);

}  // namespace r1
