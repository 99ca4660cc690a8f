// r1 convert MODEL OUT.gguf: writes the file, then reads it back and compares logits and tokenizer with the model's.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "core/compute_pool.h"
#include "model/gguf_export.h"
#include "model/hf_directory.h"
#include "text/tokenizer.h"

namespace r1 {

struct GgufOutOptions {
  std::filesystem::path source;  // HF directory or GGUF file that the tokenizer comes from
  std::filesystem::path out;
  GgmlType type = GgmlType::kF16;
  bool overwrite = false;        // replace a file that exists (IoError otherwise)
  bool verify = true;
};

// Mean over the sample text's tokens of KL(model || file) that a file may have, nats; 0 where it must be equal to the bit.
// Measured on SmolLM2-135M-Instruct: docs/LOG.md 2026-11-30.
double gguf_divergence_limit(GgmlType type);

// Takes the model (float32 weights) over: its memory goes before the file is read. With verify both hold one float32 model at a time,
// packed for the kernels. Prints what was written and what the check saw. Throws CheckpointError if the check fails; the file is
// then removed.
void write_gguf(LoadedModel model, const GgufOutOptions& options, ComputePool& pool);

}  // namespace r1
