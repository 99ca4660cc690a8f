// What `r1 verify` answers: a JSON request line in, a JSON reply line out. No command line, no files: also for fuzzing
// and for other programs.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "rewards/math/options.h"
#include "rewards/reward.h"

namespace r1 {

enum class VerifyKind : unsigned char { kMath, kCode, kFormat, kLanguage };

// Requests ("id" is any JSON value, echoed; "options" are those of the reward of the same name; "prefill" is what the
// prompt ended with, e.g. "<think>", or true; "stop" is eos, stop, length or aborted, eos if absent):
//   math      {"gold", "answer" (alone) | "completion" (a whole text), "options", "prefill", "stop"}
//          -> {"correct", "verdict": equal | different | undecided, "proved", "gold_parsed", "answer_parsed", "reason"}
//   code      see rewards/code/code_json.h
//   format    {"completion", "prefill", "stop", "options"} -> {"correct", "score", "reason"}
//   language  {"completion", "language", "prefill", "options"}
//          -> {"score", "defined", "target_words", "other_words", "unsure_words", "others": {label: words}, "language",
//              "detector", "reason"}
// A request that cannot be read, with an unknown key or with a bad option: {"error", "line"} and the id where there is
// one; never "correct", so that nobody takes it for a verdict.
class Verifier {
 public:
  explicit Verifier(VerifyKind kind) : kind_(kind) {}

  struct Reply {
    std::string text;  // one line of JSON without its line break
    bool error = false;
  };
  // `number` is the line's number in its file, from 1, for error replies. Thread-safe; never throws but for lack of
  // memory.
  Reply reply(std::string_view line, std::int64_t number) const;

  // A reply about line `number` itself, for whoever cannot hand the line over.
  static Reply error_reply(std::int64_t number, std::string_view why);

 private:
  struct Settings;  // what the options of a request stand for
  std::shared_ptr<const Settings> settings(const std::string& options_json) const;

  VerifyKind kind_;
  // Reading options takes longer than a check, and requests of one caller share theirs.
  mutable std::mutex mutex_;
  mutable std::map<std::string, std::shared_ptr<const Settings>> known_;
};

// "math", "code", "format", "language"; throws ConfigError with the list.
VerifyKind verify_kind(std::string_view name);

}  // namespace r1
