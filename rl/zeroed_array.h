// A float array of zeros of which only the pages that were written take memory: the arrays of a sharded optimizer have the layout of the
// whole, and each rank fills its own part.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace r1 {

class ZeroedArray {
 public:
  ZeroedArray() = default;
  explicit ZeroedArray(std::size_t elements);  // throws DeviceError where there is no address space
  ~ZeroedArray();
  ZeroedArray(ZeroedArray&& o) noexcept : data_(std::exchange(o.data_, nullptr)), size_(std::exchange(o.size_, 0)) {}
  ZeroedArray& operator=(ZeroedArray&& o) noexcept { std::swap(data_, o.data_); std::swap(size_, o.size_); return *this; }

  float* data() const { return data_; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  operator std::span<float>() const { return {data_, size_}; }
  operator std::span<const float>() const { return {data_, size_}; }
  // Elements [begin, end) are zeros again; the whole pages among them take no memory.
  void clear(std::int64_t begin, std::int64_t end);
  // Large pages cost memory where only parts are written.
  void use_small_pages();
  std::size_t resident_bytes() const;  // as the kernel counts them

 private:
  float* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace r1
