// A row of a finished set: `messages` as TRL, LLaMA-Factory and SFT read them, and where the row comes from.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "distill/curate.h"
#include "distill/raw_file.h"

namespace r1 {

// The second model that rewrites chains, and all its replies depend on.
struct RewriterInfo {
  std::string name, dtype;
  bool local = true;
  double temperature = 0;
  int max_new_tokens = 4096;
  std::uint64_t seed = 0;
  std::string prompt;        // the template of its question
  std::string id() const;    // a digest of these
};

// One JSON object without line break:
//   messages, prompt_id, task, answer, reward, verdict, pass_rate, rewards {label: value}, provenance {program, model, model_digest,
//   dtype, template, template_digest, template_variables, prompt_digest, prefill, seed, prompt_index, sample, samples, temperature, top_p,
//   top_k, min_p, max_new_tokens, stop, stop_reason, stop_text, tokens, logprob, detail, rewards_config, rewriter, rewriter_*, source}
// All rows of a set have the same fields; null where there is nothing to say. `labels`: the rewards'. With `columns` the data
// row's own columns are kept in "columns".
std::string make_record(const RawHeader& header, const RawPrompt& prompt, const RawSample& sample, const Score* score,
                        std::optional<double> pass_rate, int samples, const std::vector<std::string>& labels, const RewriterInfo* rewriter,
                        const RawRewrite* rewrite, bool columns);

}  // namespace r1
