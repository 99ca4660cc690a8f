// What stands before the tensors' bytes in a GGUF file (version 3): metadata and the tensors' places. Text in memory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace r1 {

inline constexpr std::uint64_t kGgufAlignment = 32;

// Entries come in the order of the calls. A file is bytes(), then each tensor's bytes in order, each filled up with zeros to a
// multiple of kGgufAlignment.
class GgufHeader {
 public:
  void text(std::string_view key, std::string_view value);
  void integer(std::string_view key, std::uint32_t value);
  void number(std::string_view key, float value);
  void flag(std::string_view key, bool value);
  void texts(std::string_view key, const std::vector<std::string>& values);
  void integers(std::string_view key, const std::vector<std::int32_t>& values);
  // shape row-major (the file has it reversed); type: ggml's number; bytes: of its data, without the filling.
  void tensor(std::string_view name, const std::vector<std::int64_t>& shape, std::uint32_t type, std::uint64_t bytes);
  std::string bytes(std::uint32_t version = 3) const;

 private:
  void entry(std::string_view key, std::uint32_t type);
  std::string meta_, info_;
  std::uint64_t entries_ = 0, tensors_ = 0, data_bytes_ = 0;
};

}  // namespace r1
