// For the tests of GPU kernels: arrays that live on the host and on the device, random numbers, comparisons.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "core/error.h"
#include "core/rng.h"
#include "kernels/gpu/device.h"
#include "kernels/gpu/gpu.h"
#include "tests/support/support.h"

// First line of every test case that needs a GPU.
#define R1_NEEDS_GPU()                                                    \
  if (!::r1::gpu::available()) {                                          \
    ::r1::test::skip(::r1::gpu::unavailable_reason().c_str());            \
    return;                                                               \
  }

namespace r1::gpu::test {

using i64 = std::int64_t;
inline std::size_t size(i64 n) { return static_cast<std::size_t>(n); }

inline double value(float v) { return v; }
inline double value(double v) { return v; }
inline double value(bf16 h) {
  const std::uint32_t bits = std::uint32_t{h} << 16;
  float f;
  std::memcpy(&f, &bits, 4);
  return f;
}
inline bf16 bf16_of(float f) {  // round to nearest, ties to even; finite f
  std::uint32_t bits;
  std::memcpy(&bits, &f, 4);
  return static_cast<bf16>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
inline double bf16_rounded(double v) { return value(bf16_of(static_cast<float>(v))); }

inline Stream stream() {
  static OwnedStream s;
  return s;
}

// A device array with a guard of 64 elements behind it; poisoned with NaN (all bits set) unless filled.
template <class T> class Array {
 public:
  explicit Array(i64 n) : n_(n), memory_(size(n + kGuard) * sizeof(T)) { poison(); }
  explicit Array(const std::vector<T>& host) : Array(static_cast<i64>(host.size())) { set(host); }
  void poison() const { fill_bytes(stream(), memory_.data(), 0xff, memory_.bytes()); }
  void set(const std::vector<T>& host) const {
    copy_to_device(stream(), memory_.data(), host.data(), host.size() * sizeof(T));
  }
  T* ptr() const { return memory_.as<T>(); }
  operator T*() const { return ptr(); }
  // Waits; fails if a kernel wrote behind the end.
  std::vector<T> get() const {
    std::vector<T> host(size(n_ + kGuard));
    copy_to_host(stream(), host.data(), memory_.data(), memory_.bytes());
    Event done;
    done.record(stream());
    done.synchronize();
    const auto* bytes = reinterpret_cast<const unsigned char*>(host.data() + n_);
    bool intact = true;
    for (std::size_t i = 0; i < kGuard * sizeof(T); ++i) intact = intact && bytes[i] == 0xff;
    CHECK_MESSAGE(intact, "a kernel wrote behind the end of an array");
    host.resize(size(n_));
    return host;
  }

 private:
  static constexpr i64 kGuard = 64;
  i64 n_;
  DeviceMemory memory_;
};

// Cheap random numbers: uniform with variance 1, quick enough for millions.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(mix64(seed + 1)) {}
  double unit() {
    state_ += 0x9E3779B97F4A7C15ull;
    return to_unit(mix64(state_));
  }
  float value() { return static_cast<float>((unit() - 0.5) * 3.4641016); }
  std::int32_t below(i64 n) { return static_cast<std::int32_t>(unit() * static_cast<double>(n)); }

 private:
  std::uint64_t state_;
};
inline std::vector<float> floats(i64 n, std::uint64_t seed, float scale = 1.f, float shift = 0.f) {
  std::vector<float> v(size(n));
  Random random(seed);
  for (float& x : v) x = random.value() * scale + shift;
  return v;
}
inline std::vector<bf16> bf16s(i64 n, std::uint64_t seed, float scale = 1.f, float shift = 0.f) {
  std::vector<bf16> v(size(n));
  Random random(seed);
  for (bf16& x : v) x = bf16_of(random.value() * scale + shift);
  return v;
}

// The largest error over what is allowed: absolute + relative * |want|. NaN gives infinity.
struct Worst {
  double ratio = 0;
  i64 count = 0;
  void take(double got, double want, double absolute, double relative) {
    const double r = std::fabs(got - want) / (absolute + relative * std::fabs(want));
    ratio = r <= ratio ? ratio : (std::isnan(r) ? INFINITY : r);
    ++count;
  }
};
inline constexpr double kBf16Step = 1.0 / 256;  // half a unit in the last place of a bfloat16, relative

template <class T> bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}
template <class T> bool same_bits(const std::vector<T>& a, i64 a_at, const std::vector<T>& b, i64 b_at, i64 count) {
  return std::memcmp(a.data() + a_at, b.data() + b_at, size(count) * sizeof(T)) == 0;
}
// Rows picked from a [..][width].
template <class T> std::vector<T> rows_of(const std::vector<T>& a, i64 width, const std::vector<i64>& rows) {
  std::vector<T> out;
  for (i64 r : rows) out.insert(out.end(), a.begin() + r * width, a.begin() + (r + 1) * width);
  return out;
}

}  // namespace r1::gpu::test
