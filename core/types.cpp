#include "core/types.h"

namespace r1 {

const char* to_string(StopReason reason) {
  switch (reason) {
    case StopReason::kEos: return "eos";
    case StopReason::kStop: return "stop";
    case StopReason::kLength: return "length";
    case StopReason::kAborted: return "aborted";
  }
  return "invalid";
}

const char* to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::kCorrect: return "ok";
    case Verdict::kWrong: return "wrong";
    case Verdict::kUnparsed: return "unparsed";
    case Verdict::kTimeout: return "timeout";
    case Verdict::kError: return "error";
    case Verdict::kAbstain: return "abstain";
  }
  return "invalid";
}

}  // namespace r1
