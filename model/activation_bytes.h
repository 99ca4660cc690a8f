// Bytes that the CPU transformer's kept forward pass holds of a token, from the architecture alone: of a dense decoder, for estimates. The
// transformer itself counts what it has (kept_bytes_per_token).
#pragma once

#include <cstdint>

#include "core/weights.h"
#include "model/model_config.h"

namespace r1 {

// `recompute`: only each layer's input is kept.
std::int64_t kept_bytes_per_token(const ModelConfig& config, DType dtype, bool recompute);

}  // namespace r1
