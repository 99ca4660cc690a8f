// A tokenizer.json as GGUF metadata; internal to model/.
#pragma once

#include "model/gguf_export.h"
#include "model/gguf_header.h"

namespace r1 {

// Adds tokenizer.*. Ids up to the model's vocabulary that no token has become unused tokens. Throws CheckpointError for a tokenizer that
// GGUF could not carry.
void put_vocabulary(const GgufTokenizer& tokenizer, const ModelConfig& config, GgufHeader& header);

}  // namespace r1
