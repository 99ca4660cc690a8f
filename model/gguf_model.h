// A GGUF file as a model of ours: HF names, HF row order, HF tokenizer files.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/weights.h"
#include "model/gguf_file.h"
#include "model/model_config.h"
#include "model/weight_store.h"

namespace r1 {

// Immutable, thread-safe. Throws CheckpointError.
class GgufModel {
 public:
  // Checks that exactly the tensors of the architecture are there, with their shapes.
  explicit GgufModel(const std::filesystem::path& path);

  const GgufFile& file() const { return file_; }
  const ModelConfig& config() const { return config_; }
  const std::vector<Parameter>& parameters() const { return parameters_; }
  // Expanded to float32 in HF's row order: for Llama the rows of q and k are brought back from ggml's interleaved rotary order.
  std::vector<float> tensor(const Parameter& parameter) const;
  void load_into(WeightStore& store) const;
  // tokenizer.json, tokenizer_config.json, special_tokens_map.json, generation_config.json, and chat_template.jinja if the
  // file has a template: name -> text. Throws for a tokenizer other than byte-level BPE or an unknown pre-tokenizer.
  std::map<std::string, std::string> side_files() const;

 private:
  GgufFile file_;
  ModelConfig config_;
  std::vector<Parameter> parameters_;
};

// Writes an HF directory (dtype kF32, kF16 or kBF16), complete or not at all; a tensor at a time is in memory. Throws
// CheckpointError, IoError; an existing folder is replaced only if it is empty or `overwrite` is set and it is a model folder.
void convert_gguf_to_hf(const std::filesystem::path& gguf, const std::filesystem::path& out_dir, DType dtype,
                        bool overwrite = false);

}  // namespace r1
