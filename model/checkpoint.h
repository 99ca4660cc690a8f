// Checkpoints: a folder that is a Hugging Face directory plus state/ for an exact resume.
//
//   checkpoints/step_000050/   config.json, *.safetensors, tokenizer files    what transformers loads
//                              state/state.json                               CheckpointState
//                              state/optimizer.safetensors                    master weights and moments, float32
//                              manifest.json                                  size and digest of every file above, written last
//   checkpoints/latest         -> the newest one
//
// Invariants. 1. A folder named step_* appears by one rename, after all its files are on the disk. 2. `latest` moves after
// that. 3. An older checkpoint is deleted only after both. 4. What the manifest does not confirm is never loaded.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/weights.h"
#include "model/hf_directory.h"
#include "model/safetensors.h"

namespace r1 {

struct CheckpointState {
  std::string stage;               // "grpo", "sft", ...
  std::uint64_t step = 0;          // policy updates done; names the folder
  WeightVersion version = 0;
  std::uint64_t seed = 0;
  std::uint64_t data_cursor = 0;   // prompts taken from the data so far, in rollout order
  std::uint64_t rollout = 0;       // number of the next rollout
  std::string config_digest;       // of the resolved recipe; the caller compares
  std::string plan;                // micro-batches, threads, ranks: what bit-exactness depends on
  std::map<std::string, std::string> extra;  // whatever else a stage needs, as text (JSON, hex)

  std::string to_json() const;
  // Throws CheckpointError naming `name` and the field.
  static CheckpointState from_json(std::string_view json, const std::string& name);
  bool operator==(const CheckpointState&) const = default;
};

struct SaveCheckpointOptions {
  DType dtype = DType::kBF16;             // of the HF weights
  std::filesystem::path side_files_from;  // tokenizer files are copied from here; empty = none
  std::map<std::string, std::string> side_files;
  // Writes further files into the folder while it is under construction (an adapter's); they are part of the manifest.
  std::function<void(const std::filesystem::path& folder)> write_more;
  int keep = 0;                           // how many of the newest stay; 0 = all
};

// Saves to root/step_NNNNNN (root is created; a folder of that name is replaced in one step) and returns that path.
// `optimizer` may be empty: then there is no optimizer.safetensors. Its tensor names are the caller's.
// Throws IoError (disk full, no permission) with nothing half-written, CheckpointError for weights that are not the model's.
std::filesystem::path save_checkpoint(const std::filesystem::path& root, const ModelConfig& config,
                                      const WeightSnapshot& weights, const std::vector<TensorView>& optimizer,
                                      const CheckpointState& state, const SaveCheckpointOptions& options = {});

// Points `latest` at a checkpoint and deletes all but the newest `keep` (0 = all stay). save_checkpoint() ends with it; a run that
// was stopped there repeats it.
void publish_checkpoint(const std::filesystem::path& newest, int keep);

// A verified checkpoint. Immutable.
class Checkpoint {
 public:
  // kDigests reads every byte; kSizes looks at names and sizes only.
  enum class Verify { kDigests, kSizes };
  // Throws CheckpointError that says which file is torn, missing or changed.
  explicit Checkpoint(const std::filesystem::path& dir, Verify verify = Verify::kDigests);

  const std::filesystem::path& path() const { return path_; }
  const CheckpointState& state() const { return state_; }
  ModelDirectory model() const { return ModelDirectory(path_); }
  bool has_optimizer() const;
  SafetensorsFile optimizer() const;  // throws CheckpointError if there is none

 private:
  std::filesystem::path path_;
  CheckpointState state_;
};

using SkipMessage = std::function<void(const std::string&)>;
// The complete checkpoints below root (verified by size), oldest first. Others are named to `skipped`.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& root, const SkipMessage& skipped = {});
// The newest that verifies by digest; empty if there is none. Torn ones are passed over with a message.
std::optional<Checkpoint> newest_checkpoint(const std::filesystem::path& root, const SkipMessage& skipped = {});

}  // namespace r1
