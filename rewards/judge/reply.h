// Reads a judge's reply, strictly: what does not say a verdict in the form that was asked for says none.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace r1 {

struct JudgeVerdict {
  enum class Kind { kYes, kNo, kUnclear, kUnreadable } kind = Kind::kUnreadable;
  double score = 0;    // 0 to 1; of a yes 1, of a no 0, or what a scale gave
  std::string reason;  // the judge's own, where it gave one
};

// The words that mean yes and no ("CORRECT", "INCORRECT"); "UNCLEAR" goes with every pair.
struct JudgeWords {
  std::string_view yes, no;
};

// The last line that is not empty must be one of the words, in any case; "Verdict:" before it and marks around it
// (*, `, quotes, a full stop) do not matter. Text before </think> of a reasoning judge is not read.
JudgeVerdict read_word(std::string_view reply, const JudgeWords& words);
// The whole reply is one JSON object, fenced or not: {"verdict": word, "reason": text}. With `scale`: {"score": number
// from 0 to scale, "reason": text}; half the scale and more is a yes.
JudgeVerdict read_json(std::string_view reply, const JudgeWords& words, std::optional<double> scale);

}  // namespace r1
