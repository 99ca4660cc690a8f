// Names and row order of a model's tensors in GGUF files; internal to model/.
#pragma once

#include <string>
#include <vector>

#include "model/model_config.h"

namespace r1 {

// "model.layers.3.self_attn.q_proj.weight" -> "blk.3.attn_q.weight"
std::string gguf_name(const std::string& hf);
// ggml's Llama rotates neighbouring rows of q and k, Hugging Face's rows half a head apart: [head, D/2, 2, in] there is
// [head, 2, D/2, in] here; a bias has in = 1. Other tensors and families pass as they are.
std::vector<float> from_gguf_rows(std::vector<float> values, const std::string& hf_name, const ModelConfig& config);
std::vector<float> to_gguf_rows(std::vector<float> values, const std::string& hf_name, const ModelConfig& config);

}  // namespace r1
