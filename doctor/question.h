// What a prompt asks, without what the recipe adds to it.
#pragma once

#include <string>

#include "core/types.h"

namespace r1::doctor {

// The last user turn without data.instruction at its end; the whole text for prompts without messages.
inline std::string question_of(const Prompt& prompt, const std::string& instruction) {
  std::string text = prompt.text;
  for (const Message& m : prompt.messages)
    if (m.role == "user") text = m.content;
  const std::string suffix = "\n" + instruction;
  if (!instruction.empty() && text.ends_with(suffix)) text.resize(text.size() - suffix.size());
  return text;
}

}  // namespace r1::doctor
