// Chat templates: a tested subset of Jinja2, enough for the templates of released models.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/types.h"

namespace r1 {

// Immutable; render() is thread-safe.
class ChatTemplate {
 public:
  struct Options {
    std::string bos_token, eos_token;
    bool add_generation_prompt = true;
    std::string tools_json;      // JSON array text, empty = none
    std::string variables_json;  // JSON object of further variables, e.g. {"enable_thinking": false}; empty = none
  };
  // Throws DataError with line and column for syntax outside the subset.
  explicit ChatTemplate(std::string_view jinja_source);
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;

  // `messages_json` is a JSON array of {role, content, ...}: the full form that tools and tool calls need.
  // Throws DataError for raise_exception() in the template or an error while rendering.
  std::string render_json(std::string_view messages_json, const Options&) const;
  // The same, and the bytes [first, second) of it that stand in {% generation %} blocks, in order: what the assistant writes. None if
  // the template has no such blocks.
  std::string render_json(std::string_view messages_json, const Options&, std::vector<std::pair<std::size_t, std::size_t>>& generated) const;
  std::string render(const std::vector<Message>& messages, const Options&) const;

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

// The plain-text template of R1-Zero in our own words (think and answer tags), for base models: the question goes in
// place of {question}. See algorithms: R1-Zero.
extern const char* const kR1ZeroTemplate;

}  // namespace r1
