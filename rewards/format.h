// The rewards `format` and `tag_count`: is the completion one think block and then one answer? A state machine over the
// tags <think> </think> <answer> </answer>; linear time.
#pragma once

#include <memory>
#include <string_view>

#include "core/config.h"
#include "rewards/reward.h"

namespace r1 {

struct FormatOptions {
  bool answer_tag = true;           // true: the answer is one <answer>..</answer>; false: the rest of the text
  bool partial = false;             // quarter steps in order: opened, closed, answer begun, complete
  bool code_spans = true;           // inside `..` and ```..``` of the think block tag text is only quoted
  bool stop_closes_answer = false;  // a stop string (set it to "</answer>") stands for the closing tag it cut off
};

struct FormatVerdict {
  float value = 0;         // 1 for the right form; with `partial` quarter steps
  const char* why = "ok";  // the first fault: "truncated", "no_think", "think_not_closed", "empty_think",
                           // "tag_in_think", "no_answer", "text_before_answer", "answer_not_closed", "empty_answer",
                           // "tag_in_answer", "text_after_answer"
};

// Full credit only for: one think block with at least one word, before it nothing but white space; then one answer with
// at least one word; after it nothing but white space and end tokens. `opened_by_prompt`: the chat template ended with <think>, the
// completion begins inside the block. A completion that did not end by itself gets 0.
FormatVerdict check_format(std::string_view completion, bool opened_by_prompt, StopReason stop, const FormatOptions&);

// A quarter for each of the four tags that occurs exactly once and after the ones before it; a tag that the prompt
// opened counts once the next one is right. Text between the tags does not matter; empty blocks earn nothing for their
// closing tag.
float count_tags(std::string_view completion, bool opened_by_prompt);

// `format`; options are those of FormatOptions. Gives a verdict but does not judge the answer.
std::unique_ptr<RewardFunction> make_format_reward(ConfigReader& options);
std::unique_ptr<RewardFunction> make_tag_count_reward(ConfigReader& options);

}  // namespace r1
