// Weights as named views: one type for files, memory and messages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/types.h"

namespace r1 {

enum class DType : std::uint8_t { kF32, kF16, kBF16, kI64, kI32, kI16, kI8, kU8, kBool, kF64, kF8E4M3 };

std::size_t size_of(DType);            // bytes of an element
const char* safetensors_name(DType);   // "F32", "BF16", ...

// A contiguous row-major tensor that somebody else owns. device -1 = host.
struct TensorView {
  std::string name;  // HF name
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
  const std::byte* data = nullptr;
  int device = -1;

  std::int64_t elements() const {
    std::int64_t n = 1;
    for (auto s : shape) n *= s;
    return n;
  }
  std::size_t bytes() const { return static_cast<std::size_t>(elements()) * size_of(dtype); }
};

// An immutable set of weights; `owner` keeps the memory alive.
struct WeightSnapshot {
  WeightVersion version = 0;
  std::vector<TensorView> tensors;
  std::shared_ptr<const void> owner;
};

}  // namespace r1
