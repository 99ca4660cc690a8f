// Safetensors files: an 8-byte little-endian header length, a JSON header {name: {dtype, shape, data_offsets}}, then raw
// little-endian data. Read by mmap; written with the same bytes for the same tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/weights.h"

namespace r1 {

// Immutable and thread-safe. Every byte of the file is accounted for when it opens: the header's length and JSON, each
// tensor's type, shape and range; no overlap, no hole, no byte too few or too many.
class SafetensorsFile {
 public:
  // Throws CheckpointError that names the file and what was expected and found.
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  // In the order of their data; valid while owner() is held.
  const std::vector<TensorView>& tensors() const { return tensors_; }
  const TensorView* find(std::string_view name) const;  // null if absent
  const TensorView& at(std::string_view name) const;    // throws CheckpointError
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  std::shared_ptr<const void> owner() const { return owner_; }

 private:
  std::filesystem::path path_;
  std::vector<TensorView> tensors_;
  std::map<std::string, std::string> metadata_;
  std::shared_ptr<const void> owner_;
};

// The weights of an HF directory: the shards of model.safetensors.index.json if that exists, else model.safetensors.
struct SafetensorsSet {
  std::vector<SafetensorsFile> files;

  // Throws CheckpointError: nothing found, a shard missing, a tensor twice, or index and shards that disagree.
  static SafetensorsSet open(const std::filesystem::path& dir);
};

struct SafetensorsWriteOptions {
  // If set, gives a tensor's data when its turn comes (the views passed in may then have none), so that a model need
  // not be in memory at once. Same name and shape; the type may only differ if float_type is set. Valid until the next call.
  std::function<TensorView(const TensorView&)> materialise;
  std::optional<DType> float_type;  // float tensors (F32, F16, BF16) are converted to it; others stay as they are
  std::set<std::string> keep_type;  // names that float_type leaves as they are
  std::map<std::string, std::string> metadata = {{"format", "pt"}};  // transformers asks for this entry
};

// Writes one file, by AtomicFile unless it lies in a folder under construction. Tensors are laid out by falling element
// size, then in the given order. Throws IoError; CheckpointError for a name given twice.
void write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                       const SafetensorsWriteOptions& options = {});

// Writes model.safetensors, or shards of at most shard_bytes each (a single larger tensor has its own) and
// model.safetensors.index.json. Names as transformers gives them. Returns the file names.
std::vector<std::string> write_safetensors_set(const std::filesystem::path& dir, std::span<const TensorView> tensors,
                                               const SafetensorsWriteOptions& options = {},
                                               std::uint64_t shard_bytes = 5'000'000'000ull);

}  // namespace r1
