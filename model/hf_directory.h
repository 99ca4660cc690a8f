// Models on disk in Hugging Face's form: config.json, *.safetensors, tokenizer files. Loading, saving, and finding one
// from what a user writes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/weights.h"
#include "model/model_config.h"
#include "model/safetensors.h"
#include "model/weight_store.h"

namespace r1 {

// An opened directory: config read, tensors checked against it (missing, unknown, wrong shape or type: CheckpointError
// naming tensor and file). With tied embeddings an lm_head.weight in the file must equal the embedding. Immutable.
class ModelDirectory {
 public:
  explicit ModelDirectory(const std::filesystem::path& dir);

  const std::filesystem::path& path() const { return path_; }
  const ModelConfig& config() const { return config_; }
  // One view for each parameter, in the order of parameter_layout(), in the file's type; of a scorer score.weight comes last.
  WeightSnapshot snapshot() const;
  void load_into(WeightStore& store) const;  // of a scorer the backbone

 private:
  std::filesystem::path path_;
  ModelConfig config_;
  SafetensorsSet set_;
  WeightSnapshot snapshot_;
};

struct LoadedModel {
  ModelConfig config;
  WeightStore weights;
};
// From an HF directory or a GGUF file; dtype kF32 or kBF16 as WeightStore.
LoadedModel load_model(const std::filesystem::path& path, DType dtype);

// What `path_or_name` means: an HF directory, a GGUF file (or a folder with exactly one), or a hub name "org/model" whose
// files lie in one of `hub_caches`. Throws CheckpointError that says what was looked for and where.
std::filesystem::path resolve_model(const std::string& path_or_name, const std::vector<std::filesystem::path>& hub_caches);
// The same with the places where Hugging Face's own tools keep downloads: HF_HUB_CACHE, HF_HOME/hub, ~/.cache/huggingface/hub.
std::filesystem::path resolve_model(const std::string& path_or_name);
bool is_gguf(const std::filesystem::path& path);  // a file that begins with "GGUF"

struct SaveModelOptions {
  DType dtype = DType::kBF16;                     // of the float tensors in the file: kF32, kF16, kBF16
  std::filesystem::path side_files_from;          // tokenizer, template and generation files are copied from here; empty = none
  std::map<std::string, std::string> side_files;  // further files, name -> content; win over copied ones
  std::uint64_t shard_bytes = 5'000'000'000ull;
  bool overwrite = false;                         // replace a model folder of that name
  std::function<TensorView(const TensorView&)> materialise;  // see SafetensorsWriteOptions
};
// Writes into a folder that exists (one under construction). A scorer's tensors hold score.weight too.
void write_model_files(const std::filesystem::path& dir, const ModelConfig& config, std::span<const TensorView> tensors,
                       const SaveModelOptions& options);
// Makes the folder, complete or not at all. Every parameter of the config must be there, and nothing else (CheckpointError).
// Throws IoError if the folder exists and is not empty, unless overwrite is set and it holds a config.json.
void save_model_directory(const std::filesystem::path& dir, const ModelConfig& config, std::span<const TensorView> tensors,
                          const SaveModelOptions& options);

}  // namespace r1
