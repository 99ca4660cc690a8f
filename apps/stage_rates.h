// Models and devices as far as the cost of a stage goes: sizes, and speeds that were measured.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/weights.h"
#include "model/model_config.h"
#include "rl/lora_adapter.h"

namespace r1 {

// A model as far as its cost goes. Parameters in all; those that a token meets (experts not asked are left out, an input embedding too).
struct ModelSize {
  std::string name;
  double parameters = 0, active = 0, head = 0;  // head: of the LM head alone, which a prompt's tokens do not need
  std::int64_t layers = 0, hidden = 0, queries = 0, kv_bytes_per_token = 0;  // queries: width of a layer's
  std::int64_t kept_bytes_per_token = 0, recompute_bytes_per_token = 0;      // activations that the learner keeps
  double side_bytes = 1.6e6;                                                 // tokenizer and configurations beside a checkpoint's weights
  std::optional<ModelConfig> config;                                         // none: known by name alone
};
ModelSize size_of(const ModelConfig& config, const std::string& name);
// Elements of LoRA's pairs on the matrices of a dense model.
double lora_elements(const ModelConfig& config, const LoraOptions& options);
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
  double disk = 0;          // bytes a second that a checkpoint is written at: the processors' seconds on a CPU
  double memory = 0;        // bytes; 0 = unknown
  double touch = 0;         // bytes a second of memory that the system gives for the first time; 0 = at once
  int threads = 0;          // of the CPU
  double sync = 0;          // seconds by the clock that a wait for the disk takes; a GPU's are in the other figures
};
// "cpu": this machine, measured for about half a second; "h100", "h200". Empty: the GPU of this machine if its rates are known, else cpu. Throws
// ConfigError naming the known ones.
DeviceRates device_rates(const std::string& name, int threads);

// Seconds of one model on one device: of a GPU by the clock, of a CPU the processors' (all threads together), which a busy machine hardly changes.
struct ModelSpeeds {
  double prompt_token = 0;         // of a prompt, once a group
  double step = 0, token = 0;      // a decode step, and each of its rows
  double position = 0;             // each of a row's earlier positions
  double train_row = 0, train_predictor = 0;  // forward and backward: a token through the layers; the head of one that is predicted
  double train_position = 0;       // each of a row's earlier positions, forward and backward
  double update = 0;               // sum of squares, optimizer, new weights
  double sample_clock = 1, train_clock = 1;  // seconds by the clock in which one of these passes: 1 / threads on a quiet CPU, more on a busy one
};
// From the device's rates and the model's size.
ModelSpeeds speeds_of(const ModelSize& model, const DeviceRates& rates);

}  // namespace r1
