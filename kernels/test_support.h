// For the kernel tests: random rows, both element types behind one view, every instruction set of this CPU.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "core/error.h"
#include "core/rng.h"
#include "kernels/cpu.h"

namespace r1::cpu::test {

// Runs fn under each set that this CPU runs, and puts the best back.
template <class Fn> void for_each_isa(const Fn& fn) {
  for (const Isa i : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Bf16, Isa::kAmx}) {
    try {
      set_isa(i);
    } catch (const DeviceError&) {
      continue;
    }
    CAPTURE(std::string(to_string(i)));
    fn(i);
  }
  set_isa(best_isa());
}

template <class Fn> void for_each_isa_and_type(const Fn& fn) {
  for_each_isa([&](Isa) {
    for (const Type type : {Type::kF32, Type::kBF16}) {
      CAPTURE(static_cast<int>(type));
      fn(type);
    }
  });
}

// An array of either element type.
struct Array {
  Type type = Type::kF32;
  std::vector<std::byte> bytes;
  Array(Type t, std::int64_t n) : type(t), bytes(static_cast<std::size_t>(n) * (t == Type::kBF16 ? 2 : 4)) {}
  std::int64_t size() const { return static_cast<std::int64_t>(bytes.size()) / element(); }
  std::int64_t element() const { return type == Type::kBF16 ? 2 : 4; }
  void* at(std::int64_t i) { return bytes.data() + i * element(); }
  const void* at(std::int64_t i) const { return bytes.data() + i * element(); }
  double get(std::int64_t i) const {
    if (type == Type::kBF16) {
      bf16 h;
      std::memcpy(&h, at(i), 2);
      return to_float(h);
    }
    float f;
    std::memcpy(&f, at(i), 4);
    return f;
  }
  void set(std::int64_t i, double v) {
    if (type == Type::kBF16) {
      const bf16 h = to_bf16(static_cast<float>(v));
      std::memcpy(at(i), &h, 2);
    } else {
      const float f = static_cast<float>(v);
      std::memcpy(at(i), &f, 4);
    }
  }
};

inline double normal(StreamRng& rng) {
  return std::sqrt(-2.0 * std::log(rng.uniform())) * std::cos(6.283185307179586 * rng.uniform());
}
inline Array random_array(Type type, std::int64_t n, std::uint64_t seed, double scale = 1.0) {
  Array a(type, n);
  StreamRng rng(seed, 7);
  for (std::int64_t i = 0; i < n; ++i) a.set(i, scale * normal(rng));
  return a;
}
inline std::vector<float> random_floats(std::int64_t n, std::uint64_t seed, double scale = 1.0) {
  std::vector<float> a(static_cast<std::size_t>(n));
  StreamRng rng(seed, 7);
  for (float& v : a) v = static_cast<float>(scale * normal(rng));
  return a;
}

// One store to `type` plus float32 sums: relative to `magnitude`, the size of what was summed.
inline double tolerance(Type stored, double magnitude) { return magnitude * (stored == Type::kBF16 ? 0.5 / 128 : 4e-6) + 1e-7; }

inline bool same_bits(const void* a, const void* b, std::size_t n) { return std::memcmp(a, b, n) == 0; }

}  // namespace r1::cpu::test
