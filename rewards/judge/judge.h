// The reward `judge`: a language model's verdict of answers (against the gold answer), of the format, or by a rubric.
// Rules come first: a model can be talked into a verdict, a checker cannot (rewards.md 1.3). What it cannot say it does
// not guess: a failure, an unreadable reply and votes without a majority abstain, counted as metric/judge/abstained and
// warned of once for each cause.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/config.h"
#include "rewards/judge/chat.h"
#include "rewards/judge/reply.h"
#include "rewards/reward.h"

namespace r1 {

struct JudgeOptions {
  enum class Mode { kAnswer, kFormat, kRubric } mode = Mode::kAnswer;
  enum class Style { kDirect, kAb } style = Style::kDirect;  // kAb: two answers, SAME or DIFFERENT, in turning order
  enum class Reply { kWord, kJson } reply = Reply::kWord;
  std::string rubric;       // the criteria, for kRubric (a default for kFormat)
  double scale = 0;         // kRubric with kJson: a score from 0 to this, paid as a share; 0 = yes or no
  std::string prompt;       // a template in place of ours (rewards/judge/prompt.h)
  int votes = 1;            // odd; a verdict needs more than half of them
  double temperature = 0;
  int max_tokens = 1024;    // of a reply
  int max_chars = 4000;     // bytes shown of a completion
  int concurrency = 8;      // questions to the model at once, over all groups
  std::string cache;        // file; "" = memory alone
  float correct = 1, wrong = 0;
};

// kAnswer judges_answer(): the answer is what follows </think>, of that the last <answer> block if there is one; a
// completion without one is "unparsed" and the model is not asked. Thread-safe.
std::unique_ptr<RewardFunction> make_llm_judge(JudgeOptions options, ChatClient client);

// From a recipe entry: mode (answer, format, rubric), style (direct, ab), reply (word, json), rubric, scale, prompt, votes
// (1), temperature (0), max_tokens (1024), max_chars (4000), concurrency (8), cache, correct (1), wrong (0), start_check
// (true: asks before the run for a verdict that is known), and the keys of the model behind it, which `make_client` reads. Throws ConfigError;
// also if the check fails.
std::unique_ptr<RewardFunction> make_llm_judge(ConfigReader& options, const std::function<ChatClient(ConfigReader&)>& make_client);

// The messages of one vote; votes of style ab turn the two answers around. For kFormat and kRubric `answer` is the whole
// completion.
std::vector<Message> judge_messages(const JudgeOptions& options, const Prompt& prompt, const std::string& answer, int vote);
JudgeVerdict read_judge_reply(const JudgeOptions& options, const std::string& reply);

}  // namespace r1
