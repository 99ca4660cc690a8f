// Hugging Face tokenizer files from the tokenizer that a GGUF file carries; internal to model/.
#pragma once

#include <map>
#include <string>

#include "model/gguf_file.h"
#include "model/model_config.h"

namespace r1 {

// See GgufModel::side_files().
std::map<std::string, std::string> hf_tokenizer_files(const GgufFile& file, const ModelConfig& config);

}  // namespace r1
