// Builds small GGUF files for tests.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "model/gguf_blocks.h"

namespace r1::test {

// Without the waiting for the disk that files of value get (file systems also wait when a file is emptied and rewritten).
inline void write_plain(const std::filesystem::path& path, const std::string& content) {
  std::filesystem::remove(path);
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

class GgufWriter {
 public:
  void text(const std::string& key, const std::string& value) { entry(key, 8), put_text(meta_, value); }
  void integer(const std::string& key, std::uint32_t value) { entry(key, 4), put(meta_, value); }
  void number(const std::string& key, float value) { entry(key, 6), put(meta_, value); }
  void flag(const std::string& key, bool value) { entry(key, 7), put(meta_, static_cast<std::uint8_t>(value)); }
  void texts(const std::string& key, const std::vector<std::string>& values) {
    entry(key, 9), put(meta_, std::uint32_t{8}), put(meta_, std::uint64_t{values.size()});
    for (const auto& value : values) put_text(meta_, value);
  }
  void integers(const std::string& key, const std::vector<std::int32_t>& values) {
    entry(key, 9), put(meta_, std::uint32_t{5}), put(meta_, std::uint64_t{values.size()});
    for (const auto value : values) put(meta_, value);
  }
  // `shape` row-major; `bytes` in the format of the type.
  void tensor(const std::string& name, const std::vector<std::int64_t>& shape, std::uint32_t type, const std::string& bytes) {
    ++tensors_;
    put_text(info_, name);
    put(info_, static_cast<std::uint32_t>(shape.size()));
    for (auto it = shape.rbegin(); it != shape.rend(); ++it) put(info_, static_cast<std::uint64_t>(*it));
    put(info_, type);
    put(info_, static_cast<std::uint64_t>(data_.size()));
    data_ += bytes;
    data_.resize((data_.size() + 31) / 32 * 32);
  }
  void floats(const std::string& name, const std::vector<std::int64_t>& shape, const std::vector<float>& values) {
    tensor(name, shape, 0, {reinterpret_cast<const char*>(values.data()), values.size() * 4});
  }
  std::string bytes(std::uint32_t version = 3) const {
    std::string out = "GGUF";
    put(out, version), put(out, tensors_), put(out, entries_);
    out += meta_ + info_;
    out.resize((out.size() + 31) / 32 * 32);
    return out + data_;
  }
  void save(const std::filesystem::path& path) const { write_plain(path, bytes()); }

 private:
  template <class T>
  static void put(std::string& out, T value) { out.append(reinterpret_cast<const char*>(&value), sizeof value); }
  static void put_text(std::string& out, const std::string& text) { put(out, std::uint64_t{text.size()}), out += text; }
  void entry(const std::string& key, std::uint32_t type) { ++entries_, put_text(meta_, key), put(meta_, type); }
  std::string meta_, info_, data_;
  std::uint64_t entries_ = 0, tensors_ = 0;
};

}  // namespace r1::test
