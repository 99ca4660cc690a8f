// What a person looks for among samples: answers that are wrong but close, unread, cut, or in two languages.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/types.h"

namespace r1::watch {

// Two numbers within a tenth of the gold one, or texts that differ in at most one character in five (at least one, of two or more).
bool is_close(std::string_view gold, std::string_view answer);

// Of "ok", "wrong", "close" (wrong, and is_close() of what the reward read), "unparsed", "failed" (timeout or error of the checker),
// "mixed" (two languages, report/text_signs.h), "truncated". The names of the page's filters.
std::vector<std::string> sample_flags(const Prompt& prompt, const Completion& completion, const Score& score);

}  // namespace r1::watch
