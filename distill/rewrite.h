// Cold start: a second model writes chains in a readable form (DeepSeek-R1, arXiv 2501.12948, 2.3.1).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "distill/curate.h"
#include "distill/record.h"
#include "rewards/judge/chat.h"
#include "rewards/rubric.h"

namespace r1 {

// Names in braces: {question}, {reference}, {completion} (the chain and its answer).
extern const char* const kRewritePrompt;
// Throws ConfigError for a name that is not known and a text without {completion}.
void check_rewrite_prompt(const std::string& text);

struct RewriteOptions {
  RewriterInfo info;
  int parallel = 8;  // questions at once
  std::function<void(std::int64_t done, std::int64_t total)> progress;
};

// Asks for those of `kept` that the file has no rewriting of by this rewriter, and keeps the replies there. A reply must be
// whole, hold a chain and an answer (<think>..</think>, then the answer), pass `chain` and, where the rubric found the
// sample right, be right too; else it is noted as not kept. Throws when the model cannot be asked; what was done stays.
void rewrite_samples(RawFile& file, const std::vector<Kept>& kept, const RewriteOptions& options, const ChatClient& client, const FilterChain& chain,
                     const Rubric* rubric);

// One sample and its score (null = not judged), `source` being its whole text.
struct RewriteTask {
  const Prompt& prompt;  // without text: the reply begins its own think block
  std::size_t index = 0;
  int sample = 0;
  std::string source;
  const Score* score = nullptr;
};
// Asks and checks. Throws Error if the model cannot be asked.
RawRewrite rewrite_one(const RewriteTask& task, const RewriterInfo& info, const ChatClient& client, const FilterChain& chain, const Rubric* rubric);

}  // namespace r1
