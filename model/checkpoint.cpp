#include "model/checkpoint.h"

#include <algorithm>
#include <utility>

#include <unistd.h>

#include "core/error.h"
#include "core/files.h"
#include "core/manifest.h"
#include "core/run_folder.h"
#include "model/mapped_file.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

std::optional<std::int64_t> step_of(const fs::path& path) { return step_of_name(path.filename().string()); }

// Newest first.
std::vector<fs::path> candidates(const fs::path& root) {
  std::vector<fs::path> found;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(root, none))
    if (!entry.is_symlink() && entry.is_directory() && step_of(entry.path())) found.push_back(entry.path());
  std::sort(found.begin(), found.end(), [](const fs::path& a, const fs::path& b) { return *step_of(a) > *step_of(b); });
  return found;
}

void say(const SkipMessage& skipped, const std::string& text) {
  if (skipped) skipped(text);
}

// Renamed away first: a kill in the middle of deleting leaves no folder that looks like a checkpoint.
void remove_checkpoint(const fs::path& dir) {
  const fs::path doomed = dir.parent_path() / message(dir.filename().string(), ".tmp-", getpid(), "-old");
  std::error_code error;
  fs::rename(dir, doomed, error);
  if (!error) fs::remove_all(doomed, error);
  if (error)
    throw IoError(message("cannot delete the old checkpoint ", dir.string(), ": ", error.message(), "; delete it by hand"));
}

}  // namespace

void publish_checkpoint(const fs::path& newest, int keep) {
  const fs::path root = newest.parent_path();
  replace_symlink(root / "latest", newest.filename());
  if (keep <= 0) return;
  std::vector<fs::path> old = list_checkpoints(root);  // oldest first
  std::erase(old, newest);
  for (std::size_t i = 0; i + static_cast<std::size_t>(keep) - 1 < old.size(); ++i) remove_checkpoint(old[i]);
}

fs::path save_checkpoint(const fs::path& root, const ModelConfig& config, const WeightSnapshot& weights,
                         const std::vector<TensorView>& optimizer, const CheckpointState& state,
                         const SaveCheckpointOptions& options) {
  make_directories(root);
  const fs::path target = root / step_name(static_cast<std::int64_t>(state.step));
  {
    AtomicDirectory folder(target);
    SaveModelOptions model;
    model.dtype = options.dtype;
    model.side_files_from = options.side_files_from;
    model.side_files = options.side_files;
    write_model_files(folder.path(), config, weights.tensors, model);
    if (options.write_more) options.write_more(folder.path());
    make_directories(folder.path() / "state");
    if (!optimizer.empty()) {
      SafetensorsWriteOptions plain;
      write_safetensors(folder.path() / "state" / "optimizer.safetensors", optimizer, plain);
    }
    write_file_atomic(folder.path() / "state" / "state.json", state.to_json());
    write_manifest(folder.path());
    folder.commit();
  }
  publish_checkpoint(target, options.keep);
  return target;
}

Checkpoint::Checkpoint(const fs::path& dir, Verify verify) : path_(dir) {
  std::error_code none;
  if (!fs::is_directory(dir, none)) throw CheckpointError(message("checkpoint ", dir.string(), " is not there or not a folder"));
  try {
    verify_manifest(dir, verify == Verify::kDigests);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) {  // a folder that may not be read, a manifest of another shape
    throw CheckpointError(message("checkpoint ", dir.string(), " cannot be verified: ", e.what()));
  }
  const fs::path state = dir / "state" / "state.json";
  if (!path_exists(state)) throw CheckpointError(message("checkpoint ", dir.string(), " has no state/state.json"));
  state_ = CheckpointState::from_json(read_file(state), state.string());
  if (const auto step = step_of(fs::weakly_canonical(dir)); step && *step != static_cast<std::int64_t>(state_.step))
    throw CheckpointError(message("checkpoint ", dir.string(), " holds step ", state_.step, ": the folder was renamed or copied; "
                                  "name it ", step_name(static_cast<std::int64_t>(state_.step))));
}

bool Checkpoint::has_optimizer() const { return path_exists(path_ / "state" / "optimizer.safetensors"); }

SafetensorsFile Checkpoint::optimizer() const {
  if (!has_optimizer())
    throw CheckpointError(message("checkpoint ", path_.string(), " has no optimizer state; it can start a run but not resume one"));
  return SafetensorsFile(path_ / "state" / "optimizer.safetensors");
}

std::vector<fs::path> list_checkpoints(const fs::path& root, const SkipMessage& skipped) {
  std::vector<fs::path> good;
  for (const fs::path& dir : candidates(root)) {
    try {
      const Checkpoint checked(dir, Checkpoint::Verify::kSizes);
      good.push_back(dir);
    } catch (const Error& e) {
      say(skipped, message("skipped: ", e.what()));
    }
  }
  std::reverse(good.begin(), good.end());
  return good;
}

std::optional<Checkpoint> newest_checkpoint(const fs::path& root, const SkipMessage& skipped) {
  for (const fs::path& dir : candidates(root)) {
    try {
      return Checkpoint(dir);
    } catch (const Error& e) {
      say(skipped, message("skipped: ", e.what()));
    }
  }
  return std::nullopt;
}

}  // namespace r1
