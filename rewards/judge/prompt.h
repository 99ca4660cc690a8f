// What a judge is shown of a completion: its final part, between marks that it cannot contain.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/types.h"

namespace r1 {

// Text of a model under test, safe to put into another model's prompt: bytes that are not UTF-8 and control characters
// replaced, chat control tokens ("<|im_end|>", "[INST]", "<end_of_turn>", ...) broken up by a space. More than
// `max_bytes` are cut to the end (`keep_head` = false), or to a third from the beginning and the rest from the end with
// a line that says so between them.
std::string harmless(std::string_view text, std::size_t max_bytes, bool keep_head);

// "[BEGIN 3f..]\n" text "\n[END 3f..]" with a number made from the text that does not occur in it.
std::string between_marks(std::string_view harmless_text);

// What stands for {question}, {reference}, {answer}, {answer_a}, {answer_b}, {completion}, {rubric}.
struct PromptFields {
  std::string question, reference, answer, answer_a, answer_b, completion, rubric;
};

// One pass: text that was put in is not looked at again. A {name} that is not one of `known` throws ConfigError.
std::string fill_template(std::string_view text, const PromptFields& fields);
// Throws ConfigError for an unknown {name}; the names that occur.
std::vector<std::string> template_names(std::string_view text);

// The last user message, or the rendered prompt where there are no messages.
std::string question_of(const Prompt& prompt);

}  // namespace r1
