// The template that turns a question or a conversation into a model's text: the model's own, a file's, or plain text.
#pragma once

#include <memory>
#include <string>

#include "text/chat_template.h"
#include "text/dataset.h"
#include "text/tokenizer.h"

namespace r1 {

struct PromptTemplate {
  std::unique_ptr<const ChatTemplate> chat;  // null: `plain` is used
  std::string plain;                         // text with {question} in it
  ChatTemplate::Options chat_options;        // with the tokenizer's bos and eos, and the options' variables

  std::string fill(const std::string& question) const;  // plain
};

// By prompt_template, template_file, system_prompt, template_variables. Throws ConfigError for a template that the tokenizer's model
// does not have, an unknown name, options that have no effect.
PromptTemplate load_prompt_template(const DatasetOptions& options, const Tokenizer& tokenizer);

}  // namespace r1
