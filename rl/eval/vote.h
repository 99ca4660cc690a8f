// The majority answer of several samples (cons@k), and the text of an answer as votes compare it.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rewards/answer_extract.h"

namespace r1 {

enum class VoteEquality { kMaths, kText };  // kMaths: the maths checker's equality, either way round; kText: letter case and white space aside

// The index of the first sample that gave the winning answer; nullopt if none gave one (empty texts do not vote).
// Answers are grouped by equality to a group's first member; the largest group wins, of equal ones the one that came
// first.
std::optional<std::size_t> majority(std::span<const std::string> answers, VoteEquality equality);

// The final answer that the `math` reward would read from the completion under this extraction, as written; empty if it
// finds none. Boxes side by side are joined by commas. `opened_by_prompt`: the prompt ended with <think>.
std::string voted_answer(const std::string& completion, bool opened_by_prompt, AnswerSource source);

}  // namespace r1
