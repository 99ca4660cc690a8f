// Builds small GGUF files for tests.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "model/gguf_header.h"

namespace r1::test {

// Without the waiting for the disk that files of value get (file systems also wait when a file is emptied and rewritten).
inline void write_plain(const std::filesystem::path& path, const std::string& content) {
  std::filesystem::remove(path);
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

class GgufWriter : public GgufHeader {
 public:
  // `shape` row-major; `bytes` in the format of the type.
  void tensor(const std::string& name, const std::vector<std::int64_t>& shape, std::uint32_t type, const std::string& bytes) {
    GgufHeader::tensor(name, shape, type, bytes.size());
    data_ += bytes;
    data_.resize((data_.size() + kGgufAlignment - 1) / kGgufAlignment * kGgufAlignment);
  }
  void floats(const std::string& name, const std::vector<std::int64_t>& shape, const std::vector<float>& values) {
    tensor(name, shape, 0, {reinterpret_cast<const char*>(values.data()), values.size() * 4});
  }
  std::string bytes(std::uint32_t version = 3) const { return GgufHeader::bytes(version) + data_; }
  void save(const std::filesystem::path& path) const { write_plain(path, bytes()); }

 private:
  std::string data_;
};

}  // namespace r1::test
