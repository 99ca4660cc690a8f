// Seconds and bytes of a stage on a device: an estimate from counts and from rates that were measured (docs/pipeline.md says how and how well).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "apps/stage_load.h"
#include "model/model_config.h"

namespace r1 {

// A model as far as its cost goes. Parameters in all; those that a token meets (experts not asked are left out, an input embedding too).
struct ModelSize {
  std::string name;
  double parameters = 0, active = 0, head = 0;  // head: of the LM head alone, which a prompt's tokens do not need
  std::int64_t layers = 0, hidden = 0, kv_bytes_per_token = 0;
  std::int64_t kept_bytes_per_token = 0, recompute_bytes_per_token = 0;  // activations that the learner keeps
};
ModelSize size_of(const ModelConfig& config, const std::string& name);
// By a hub's name where the files are not here: "Qwen/Qwen2.5-0.5B-Instruct" and other names of known shapes. None for others.
std::optional<ModelSize> known_model_size(const std::string& name);

struct DeviceRates {
  std::string name;
  bool gpu = false;
  double train_flops = 0;   // floating-point operations a second of forward and backward passes, for a model of width 900 and more
  double sample_flops = 0;  // of decoding
  double token_layer = 0;   // seconds a token and layer beside the products, decoding
  double step_layer = 0;    // seconds a decode step and layer, however few sequences
  double bandwidth = 0;     // bytes a second
  double update = 0;        // seconds an update beside the arithmetic
  double sample = 0;        // seconds a sample of a data set: scoring, writing, curating
  double start = 0;         // seconds a stage: opening the model, reading data, choosing products
  double disk = 0;          // bytes a second that a checkpoint is written at
  double memory = 0;        // bytes; 0 = unknown
};
// "cpu": this machine, measured for about half a second; "h100", "h200". Empty: the GPU of this machine if its rates are known, else cpu. Throws
// ConfigError naming the known ones.
DeviceRates device_rates(const std::string& name, int threads);

// What is assumed where neither recipe nor data says it; each may be given (expect: of a stage, --expect).
struct StageSizes {
  double prompt_tokens = 0, new_tokens = 0;      // mean of a completion; default: half of max_new_tokens
  double example_tokens = 0, examples = 0;       // of what it learns from
  double mixed = 0;                              // share of the completions whose group does not all earn the same; default 0.6
  std::vector<std::string> said;                 // for people: each value and where it is from
};
StageSizes stage_sizes(const StageLoad& load, const std::map<std::string, double>& expect, const std::optional<DataSize>& data);

struct StageCost {
  double sample = 0, train = 0, other = 0;  // seconds
  std::int64_t updates = 0;
  double tokens_drawn = 0, tokens_trained = 0;
  std::vector<std::string> memory;          // lines for people
  double seconds() const { return sample + train + other; }
};
StageCost stage_cost(const StageLoad& load, const StageSizes& sizes, const ModelSize& model, const std::optional<ModelSize>& teacher, const DeviceRates& rates);

}  // namespace r1
