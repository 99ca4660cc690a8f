// The number formats of GGUF tensors and their exact expansion to float32. Layouts: ggml's block structures; results equal
// the reference dequantisation of the Python package `gguf` bit by bit (tests/golden/model_gguf_blocks.py).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace r1 {

// ggml's type numbers, for those supported here.
enum class GgmlType : std::uint32_t {
  kF32 = 0, kF16 = 1, kQ4_0 = 2, kQ4_1 = 3, kQ5_0 = 6, kQ5_1 = 7, kQ8_0 = 8,
  kQ2_K = 10, kQ3_K = 11, kQ4_K = 12, kQ5_K = 13, kQ6_K = 14, kBF16 = 30,
};

struct GgmlFormat {
  const char* name;
  std::size_t block_elements, block_bytes;
};
// Empty for a type that is not supported.
std::optional<GgmlFormat> ggml_format(std::uint32_t type);
std::string ggml_type_name(std::uint32_t type);  // also of unsupported ones, as far as known: "IQ4_NL", "type 77"
extern const char* const kSupportedGgmlTypes;    // for messages

// Expands `blocks` blocks to blocks * block_elements floats. No alignment needed.
void dequantize(GgmlType type, const std::byte* in, std::size_t blocks, float* out);

}  // namespace r1
