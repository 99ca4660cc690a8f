// Private to model/: the families that config.json may name, and how each reads what is its own.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "model/config_json.h"
#include "model/model_config.h"

namespace r1::detail {

struct Family {
  const char* model_type;
  const char* architecture;
  std::int64_t max_position_embeddings;  // transformers' defaults where the file is silent
  double rms_norm_eps = 1e-6, rope_theta = 10000;
  bool tied = false;
  std::set<std::string> honoured;  // keys that change the computation and that read() takes into account
  void (*read)(const nlohmann::json& config, const ConfigJson& reader, ModelConfig& out);
};
const std::vector<Family>& families();

// Parts that all families have. Each throws CheckpointError naming the key, its value and what is supported.
void read_sizes(const Family& family, const ConfigJson& reader, ModelConfig& out);
void read_layer_types(const nlohmann::json& config, const ConfigJson& reader, ModelConfig& out);
void read_quantisation(const nlohmann::json& config, const ConfigJson& reader, ModelConfig& out);
// Old files have rope_theta beside rope_scaling, new ones hold everything in rope_parameters. config_rope.cpp
void read_rope(const nlohmann::json& config, const Family& family, const ConfigJson& reader, ModelConfig& out);

}  // namespace r1::detail
