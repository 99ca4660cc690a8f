// Shapes of models that people train, for benchmarks on random weights: nothing has to be downloaded.
#pragma once

#include <string>
#include <vector>

#include "model/model_config.h"

namespace r1 {

const std::vector<std::string>& model_shape_names();
// "smollm2-135m", "qwen2.5-0.5b", "qwen3-0.6b", "qwen2.5-1.5b", "qwen2.5-7b", "llama-3.1-8b", "deepseek-v2-lite", "qwen3-30b-a3b". Throws ConfigError for others.
ModelConfig model_shape(const std::string& name);

}  // namespace r1
