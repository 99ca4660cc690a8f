// The sections that every kind of recipe has: model:, output:, and the optimizer's keys inside rl:, sft:, ...
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/config_recorder.h"
#include "core/error.h"
#include "core/weights.h"
#include "rl/lora_adapter.h"
#include "rl/optimizer.h"
#include "rl/optimizer_format.h"

namespace r1 {

// model:
struct ModelSection {
  std::string path;            // HF directory, GGUF file, or a hub name in the local cache. Required.
  std::string device = "auto"; // device: cpu, cuda, or auto: the GPU where the program knows one and it answers
  DType dtype = DType::kBF16;  // dtype: bfloat16 or float32, of the live weights; the optimizer's master is float32
  bool long_context = false;   // LongRoPE (phi3): the long factors for all positions, as transformers has them beyond the original context
};

// output:
struct OutputSection {
  std::filesystem::path dir;        // the run folder; default runs/NAME of the recipe file
  std::int64_t save_every = 50;     // updates; 0 = at the end only
  int keep = 3;                     // checkpoints that stay; 0 = all
  double record_gb = 1.0;           // GiB of rollouts/ that stay, for r1 replay, reward-diff and watch; 0 = none is written
  std::int64_t samples_every = 10;  // updates between transcripts in samples/ and on the screen; 0 = none
  bool tensorboard = true;
};

// train: what a run on several ranks reads (docs/distributed.md); without effect in one process but for lanes.
struct RanksSection {
  int zero = 0;                       // 0 to 3: what each rank keeps a share of
  int tensor_parallel = 1;            // ranks that share the weights of one model out
  int sequence_parallel = 1;          // ranks that share the rows of a micro-batch out
  int expert_parallel = 1;            // ranks that share the experts of one model out
  int lanes = 0;                      // partial sums of an update's gradient; 0 = as many as ranks
  double comm_timeout_s = 1800;       // a wait for other ranks
  double comm_silence_s = 60;         // a rank without a sign of life for so long is lost
  double comm_start_timeout_s = 300;  // until all ranks are there
};

// train: what every kind of training says of the machine. None of it changes the numbers but tokens_per_micro_batch, whose split
// decides the order of sums.
struct TrainSection {
  std::optional<std::int64_t> tokens_per_micro_batch;  // 0 or none = what suits the device: 8192 on the CPU, by memory on the GPU
  std::optional<bool> recompute;                       // gradient checkpointing; none = auto, by the memory that is free
  OptimizerWishes optimizer;                           // master, moments, gradients; none = auto, by the memory of the GPU; offload
  int threads = 0;                                     // 0 = all usable cores, shared by the ranks of this machine
  RanksSection ranks;
};

// Keys of RanksSection, and offload, that change no number: left out of digests, free to change between starts.
std::vector<std::string> rank_keys();

// lora: rank, alpha (default twice the rank), targets (projections, or all-linear), rslora, dropout (0; rl/lora_training.h), init_from
// (a PEFT directory to go on from: it says rank, alpha, rslora and targets).
struct LoraSection {
  LoraOptions options;
  std::filesystem::path init_from;  // empty = new pairs
};

namespace detail {

// The recipe's own name: the file's without extension.
std::string recipe_name(const Config& config);
ModelSection read_model(ConfigReader reader);
TrainSection read_train(ConfigReader& reader);
RanksSection read_ranks(ConfigReader& train);
// None if the recipe has no such section. `seed` draws A and dropout. `no_dropout`: why this kind has none; empty = it may.
std::optional<LoraSection> read_lora(ConfigReader& root, std::uint64_t seed, const std::string& no_dropout = "");
// `samples`: whether this kind shows transcripts; else samples_every is an unknown key.
OutputSection read_output(ConfigReader reader, const std::string& name, bool samples);

// learning_rate, lr_schedule, min_lr_ratio, adam_beta1, adam_beta2, adam_epsilon, weight_decay, max_grad_norm. Warm-up and the
// number of updates are the kind's own: not every kind knows its updates before it has read its data.
struct OptimizerDefaults {
  double learning_rate = 1e-6;
  const char* schedule = "constant";
  double beta2 = 0.95;
};
OptimizerOptions read_optimizer(ConfigReader& section, const OptimizerDefaults& defaults);

// For the recipe reference: the names that a parser lists when it is asked for none of them.
template <class Parse>
void note_choices(const ConfigReader& reader, const char* key, Parse parse) {
  ConfigRecorder* recorder = ConfigRecorder::current();
  if (recorder == nullptr) return;
  try {
    parse(std::string("?"));
  } catch (const ConfigError& e) {
    const std::string text = e.what();
    if (const std::size_t known = text.find("it can be "); known != std::string::npos) recorder->at(reader.path(key)).choices = text.substr(known + 10);
  }
}

// Reads a named choice with the parser of the part that owns it; its error gets file, line and key in front.
template <class Parse>
auto read_name(ConfigReader& reader, const char* key, const char* fallback, Parse parse) {
  const std::string name = reader.get<std::string>(key, fallback);
  note_choices(reader, key, parse);
  try {
    return parse(name);
  } catch (const ConfigError& e) {
    const std::string text = e.what();  // "... it can be A, B, C"
    const std::size_t known = text.find("it can be ");
    reader.fail(key, known == std::string::npos ? text : message("is '", name, "'; ", text.substr(known)));
  }
}

}  // namespace detail
}  // namespace r1
