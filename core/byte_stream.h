// Little-endian binary records in memory: what ByteWriter puts, ByteReader gets back bit for bit.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "core/error.h"

namespace r1 {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "records are memory images of little-endian numbers");

class ByteWriter {
 public:
  template <class T> requires(std::is_arithmetic_v<T> || std::is_enum_v<T>)
  void put(T value) { bytes_.append(reinterpret_cast<const char*>(&value), sizeof value); }
  void put(std::string_view text) {
    put(static_cast<std::uint64_t>(text.size()));
    bytes_ += text;
  }
  template <class T> requires std::is_arithmetic_v<T>
  void put_all(const std::vector<T>& values) {
    put(static_cast<std::uint64_t>(values.size()));
    if (!values.empty()) bytes_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  }
  void put_raw(const void* data, std::size_t size) { bytes_.append(static_cast<const char*>(data), size); }
  const std::string& bytes() const { return bytes_; }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

// Throws DataError where the bytes end early or a length cannot be true. The bytes must outlive the reader.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : bytes_(bytes) {}
  template <class T> requires(std::is_arithmetic_v<T> || std::is_enum_v<T>)
  T get() {
    T value;
    get_raw(&value, sizeof value);
    return value;
  }
  // A count of things that take at least `bytes_each` bytes: bounded by what is left, before anybody allocates.
  std::size_t get_count(std::size_t bytes_each = 1) {
    const auto count = get<std::uint64_t>();
    if (count > bytes_.size() / bytes_each) fail();
    return static_cast<std::size_t>(count);
  }
  std::string get_text() {
    const std::size_t size = get_count();
    std::string text(bytes_.substr(0, size));
    bytes_.remove_prefix(size);
    return text;
  }
  template <class T> requires std::is_arithmetic_v<T>
  std::vector<T> get_all() {
    std::vector<T> values(get_count(sizeof(T)));
    get_raw(values.data(), values.size() * sizeof(T));
    return values;
  }
  void get_raw(void* data, std::size_t size) {
    if (size > bytes_.size()) fail();
    if (size > 0) std::memcpy(data, bytes_.data(), size);
    bytes_.remove_prefix(size);
  }
  bool at_end() const { return bytes_.empty(); }
  void expect_end() const {
    if (!at_end()) throw DataError(message("a binary record has ", bytes_.size(), " bytes too many"));
  }

 private:
  [[noreturn]] static void fail() { throw DataError("a binary record ends too early or is damaged"); }
  std::string_view bytes_;
};

}  // namespace r1
