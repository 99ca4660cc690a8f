// A file mapped read-only into memory. Pages are read when touched and may be dropped again, so a model larger than
// memory can be converted.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <system_error>

namespace r1 {

// False also where the path may not be looked at or is too long, when std::filesystem::exists() throws.
inline bool path_exists(const std::filesystem::path& path) {
  std::error_code none;
  return std::filesystem::exists(path, none);
}

// Immutable, thread-safe. The file must not be shortened while it is mapped (replacing it by rename is fine).
class MappedFile {
 public:
  // Throws CheckpointError if it is missing, not a regular file, or not readable.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  const std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  explicit MappedFile(std::filesystem::path path);
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;  // null for an empty file
  std::size_t size_ = 0;
};

}  // namespace r1
