// Rows of code benchmarks: their tests in the form that the `code` reward reads.
#pragma once

#include <optional>
#include <string>

#include "text/dataset.h"

namespace r1 {

struct CodeRow {
  std::string tests_json;     // for rewards/code/code_json.h
  std::string answer_format;  // LiveCodeBench: what the reply must hold, as a sentence for the prompt; else empty
};

// HumanEval and MBPP by rewards/code/test_formats.h; LiveCodeBench by its columns public_test_cases, private_test_cases
// (JSON, or base64 of zlib of a pickled text, as its files have them), starter_code, metadata {func_name}. Throws
// DataError naming the column.
CodeRow code_row(const Row& row);

// The text inside a pickle that holds one text and nothing else (protocols 2 to 5); nullopt for any other. Runs nothing.
std::optional<std::string> unpickle_text(std::string_view bytes);

// What lenient grading runs where a completion has no closed code block: an open block's content, else the whole text,
// up to what a base model writes after a function. nullopt if there is a closed block (then both gradings read it).
std::optional<std::string> unfenced_program(std::string_view answer);

}  // namespace r1
