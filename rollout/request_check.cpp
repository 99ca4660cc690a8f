#include "rollout/request_check.h"

#include <cmath>
#include <string>

#include "core/error.h"
#include "rollout/scheduler.h"

namespace r1 {
namespace {

template <class... Parts>
void require(bool ok, const RolloutRequest& request, const Parts&... parts) {
  if (!ok) throw ConfigError(message("prompt ", request.prompt.id.empty() ? std::string("(no id)") : request.prompt.id, ": ", parts...));
}

}  // namespace

void check_request(const RolloutRequest& r, const EngineLimits& limits) {
  const SamplingOptions& s = r.sampling;
  const auto prompt = static_cast<std::int64_t>(r.prompt.tokens.size());
  require(prompt > 0, r, "it has no tokens; the model needs at least one, e.g. a beginning-of-sequence token");
  for (std::size_t i = 0; i < r.prompt.tokens.size(); ++i)
    require(r.prompt.tokens[i] >= 0 && r.prompt.tokens[i] < limits.vocab_size, r, "token ", i, " is ", r.prompt.tokens[i],
            ", the model's vocabulary has ", limits.vocab_size, " entries; is it another model's tokenizer?");
  require(r.samples >= 1, r, "samples_per_prompt is ", r.samples, ", must be at least 1");
  require(s.max_new_tokens >= 1, r, "rollout.max_new_tokens is ", s.max_new_tokens, ", must be at least 1");
  require(std::isfinite(s.temperature) && s.temperature >= 0.f, r, "rollout.temperature is ", s.temperature, ", must be 0 (greedy) or more");
  require(s.top_k >= 0, r, "rollout.top_k is ", s.top_k, ", must be 0 (off) or more");
  require(s.top_p > 0.f && s.top_p <= 1.f, r, "rollout.top_p is ", s.top_p, ", must be in (0, 1]");
  require(s.min_p >= 0.f && s.min_p <= 1.f, r, "rollout.min_p is ", s.min_p, ", must be in [0, 1]");
  for (const TokenId t : s.stop_tokens)
    require(t >= 0 && t < limits.vocab_size, r, "stop token ", t, " is outside the vocabulary of ", limits.vocab_size);
  for (const std::string& text : s.stop_strings) require(!text.empty(), r, "a stop string is empty; remove it from rollout.stop");
  require(s.stop_strings.empty() || limits.has_tokenizer, r, "stop strings need a tokenizer, the engine has none");

  const std::int64_t positions = prompt + s.max_new_tokens;
  require(positions <= limits.context, r, prompt, " tokens and rollout.max_new_tokens ", s.max_new_tokens, " make ", positions,
          " positions, the model's context has ", limits.context, "; lower rollout.max_new_tokens or data.max_prompt_tokens");
  const std::int64_t blocks = Scheduler::blocks_needed(prompt, s.max_new_tokens, limits.kv_block_size);
  require(blocks <= limits.kv_blocks, r, prompt, " tokens and rollout.max_new_tokens ", s.max_new_tokens, " may need ", blocks,
          " KV blocks of ", limits.kv_block_size, " positions, the cache has ", limits.kv_blocks,
          "; raise rollout.kv_cache_gb or lower rollout.max_new_tokens");
}

}  // namespace r1
