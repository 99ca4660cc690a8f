// The architecture a GGUF file describes, as a ModelConfig; internal to model/.
#pragma once

#include "model/gguf_file.h"
#include "model/model_config.h"

namespace r1 {

// Architectures llama, qwen2, qwen3. Throws CheckpointError for another, and for a metadata key of the architecture that
// changes the computation and is not honoured. json is filled.
ModelConfig config_of_gguf(const GgufFile& file);

}  // namespace r1
