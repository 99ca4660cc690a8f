// Conversations -> training tokens with what the assistant wrote marked: the chat template decides, by what it renders with and
// without a turn, or by its {% generation %} blocks where it has them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/types.h"
#include "text/dataset.h"
#include "text/tokenizer.h"

namespace r1 {

// Entry t of the mask speaks of token t: 1 = its prediction is trained. Entry 0 is 0. The last token is a trained one.
struct TrainingText {
  std::vector<TokenId> tokens;          // [T]
  std::vector<std::uint8_t> loss_mask;  // [T]
};

// Immutable; thread-safe.
class TrainingTextMaker {
 public:
  // The template is that of `options` (prompt_template, template_file, system_prompt, prompt_suffix, template_variables). `stop_tokens`:
  // those of the model's generation config; every trained turn has to end with one of them. Throws ConfigError (no template, no stop
  // token).
  TrainingTextMaker(DatasetOptions options, std::shared_ptr<const Tokenizer> tokenizer, std::vector<TokenId> stop_tokens);
  ~TrainingTextMaker();
  TrainingTextMaker(TrainingTextMaker&&) noexcept;

  bool has_chat_template() const;

  // `messages_json`: a list of {role, content, ...} whose last is the assistant's. Trained are the assistant's turns from message
  // `first_trained` on, each with its stop token and nothing behind it. One text; where the template writes earlier turns differently
  // once others follow (it leaves out their thinking), one text a trained turn, with the history as the model will see it. Tokens before
  // a turn are those of the prompt that a rollout would have. Throws DataError naming `at` for a turn that the template does not end
  // with a stop token, or whose content it drops.
  std::vector<TrainingText> make(std::string_view messages_json, std::size_t first_trained, const std::string& tools_json,
                                 const std::string& at) const;
  // A question and its answer as plain text, by a template with {question} in it; a stop token is appended.
  TrainingText make_plain(const std::string& question, const std::string& answer, const std::string& at) const;
  // A text that is trained as a whole (but its first token), stop token appended.
  TrainingText make_text(const std::string& text, const std::string& at) const;

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

}  // namespace r1
