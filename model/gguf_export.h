// A model of ours as a GGUF file: weights in one of the formats, configuration, tokenizer and chat template.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "core/compute_pool.h"
#include "model/gguf_blocks.h"
#include "model/model_config.h"
#include "model/weight_store.h"

namespace r1 {

// What a GGUF file says of a tokenizer.
struct GgufTokenizer {
  std::string tokenizer_json;         // Hugging Face's file: byte-level BPE of a pre-tokenizer that GGUF has a name for
  std::optional<TokenId> eos, pad;    // of tokenizer_config.json; the model's own end tokens and bos come from its config
  std::string chat_template;          // Jinja; may be empty
};

struct GgufExportReport {
  std::map<std::string, int> tensors;  // format -> how many
  std::uint64_t bytes = 0;             // of the file
  std::int64_t changed = 0;            // weights whose value in the file is not the one given
  double error = 0;                    // root mean square of the changes over that of the weights
};

// "f32", "f16", "bf16", "q8_0", "q4_k" (any case). Throws ConfigError for others.
GgmlType parse_gguf_type(const std::string& name);

// Writes the file, complete or not at all. Matrices are in `type`; vectors (norms, biases) in F32. With Q4_K the output matrix (the
// embedding, where they are tied) is Q8_0, and so is a matrix whose rows are no multiple of 256; rows that are no multiple of 32 are F16.
// Families: those of GgufModel (llama, qwen2, qwen3); CheckpointError for anything that a file could not carry or F16 not hold.
GgufExportReport export_gguf(const ModelConfig& config, const WeightStore& weights, const GgufTokenizer& tokenizer, const std::string& name,
                             GgmlType type, const std::filesystem::path& out, ComputePool& pool);

}  // namespace r1
