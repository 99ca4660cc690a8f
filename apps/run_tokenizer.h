// The tokenizer of a run that is looked at later.
#pragma once

#include <memory>

#include "replay/recorded_run.h"
#include "text/tokenizer.h"

namespace r1 {

// Of its newest checkpoint, else of the model that it started from; null where neither is there any more.
std::shared_ptr<const Tokenizer> run_tokenizer(const RecordedRun& run);

}  // namespace r1
