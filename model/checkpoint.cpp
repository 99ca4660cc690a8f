#include "model/checkpoint.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <utility>

#include <unistd.h>

#include "core/error.h"
#include "core/files.h"
#include "model/checkpoint_manifest.h"
#include "model/mapped_file.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPrefix = "step_";

std::string folder_name(std::uint64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "%s%06llu", kPrefix, static_cast<unsigned long long>(step));
  return name;
}

std::optional<std::uint64_t> step_of(const fs::path& path) {
  const std::string name = path.filename().string();
  const std::string digits = name.starts_with(kPrefix) ? name.substr(5) : "";
  if (digits.size() < 6 || digits.size() > 18 ||
      !std::all_of(digits.begin(), digits.end(), [](unsigned char c) { return std::isdigit(c); }))
    return std::nullopt;
  return std::stoull(digits);
}

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

fs::path save_checkpoint(const fs::path& root, const ModelConfig& config, const WeightSnapshot& weights,
                         const std::vector<TensorView>& optimizer, const CheckpointState& state,
                         const SaveCheckpointOptions& options) {
  make_directories(root);
  const fs::path target = root / folder_name(state.step);
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
    detail::write_manifest(folder.path());
    folder.commit();
  }
  replace_symlink(root / "latest", target.filename());
  if (options.keep > 0) {
    std::vector<fs::path> old = list_checkpoints(root);  // oldest first
    std::erase(old, target);
    for (std::size_t i = 0; i + static_cast<std::size_t>(options.keep) - 1 < old.size(); ++i) remove_checkpoint(old[i]);
  }
  return target;
}

Checkpoint::Checkpoint(const fs::path& dir, Verify verify) : path_(dir) {
  std::error_code none;
  if (!fs::is_directory(dir, none)) throw CheckpointError(message("checkpoint ", dir.string(), " is not there or not a folder"));
  try {
    detail::verify_manifest(dir, verify == Verify::kDigests);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) {  // a folder that may not be read, a manifest of another shape
    throw CheckpointError(message("checkpoint ", dir.string(), " cannot be verified: ", e.what()));
  }
  const fs::path state = dir / "state" / "state.json";
  if (!path_exists(state)) throw CheckpointError(message("checkpoint ", dir.string(), " has no state/state.json"));
  state_ = CheckpointState::from_json(read_file(state), state.string());
  if (const auto step = step_of(fs::weakly_canonical(dir)); step && *step != state_.step)
    throw CheckpointError(message("checkpoint ", dir.string(), " holds step ", state_.step, ": the folder was renamed or copied; "
                                  "name it ", folder_name(state_.step)));
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

Checkpoint open_checkpoint(const fs::path& path, const SkipMessage& skipped) {
  std::error_code none;
  if (!fs::is_directory(path, none)) throw CheckpointError(message("checkpoint ", path.string(), " is not there or not a folder"));
  if (path_exists(path / "manifest.json") || step_of(fs::weakly_canonical(path))) return Checkpoint(fs::weakly_canonical(path));
  for (const fs::path& root : {path, path / "checkpoints"})
    if (auto newest = newest_checkpoint(root, skipped)) return *std::move(newest);
  throw CheckpointError(message("no complete checkpoint in ", path.string(), " (looked for step_NNNNNN with a manifest.json there ",
                                "and in checkpoints/)"));
}

}  // namespace r1
