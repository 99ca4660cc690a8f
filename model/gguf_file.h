// GGUF files (versions 2 and 3, little-endian): typed metadata and quantised tensors, by mmap.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "model/gguf_blocks.h"

namespace r1 {

// A metadata value. Integers of all widths widen to int64 (a uint64 beyond its range is refused); float32 and float64 to double.
using GgufArray = std::variant<std::vector<std::int64_t>, std::vector<double>, std::vector<bool>, std::vector<std::string>>;
using GgufValue = std::variant<std::int64_t, double, bool, std::string, GgufArray>;

struct GgufTensor {
  std::string name;
  std::vector<std::int64_t> shape;  // row-major: the file's dimensions reversed
  GgmlType type = GgmlType::kF32;
  const std::byte* data = nullptr;  // valid while the file object lives
  std::int64_t elements = 0;
  std::size_t blocks = 0;
};

// Immutable, thread-safe. Throws CheckpointError naming the file, the key or tensor, and what was expected and found.
class GgufFile {
 public:
  explicit GgufFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  bool has(const std::string& key) const { return metadata_.contains(key); }
  std::int64_t integer(const std::string& key) const;
  double number(const std::string& key) const;  // integers too
  bool flag(const std::string& key, bool missing) const;
  const std::string& text(const std::string& key) const;
  const std::vector<std::string>& texts(const std::string& key) const;
  const std::vector<std::int64_t>& integers(const std::string& key) const;
  const std::map<std::string, GgufValue>& metadata() const { return metadata_; }

  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  const GgufTensor* find(std::string_view name) const;  // null if absent
  const GgufTensor& at(std::string_view name) const;
  std::vector<float> floats(const GgufTensor& tensor) const;  // expanded

 private:
  template <class T> const T& get(const std::string& key, const char* wanted) const;
  std::filesystem::path path_;
  std::shared_ptr<const void> owner_;
  std::map<std::string, GgufValue> metadata_;
  std::vector<GgufTensor> tensors_;
};

}  // namespace r1
