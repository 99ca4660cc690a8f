#include "rl/zeroed_array.h"

#include <sys/mman.h>

#include "core/error.h"
#include "core/pages.h"

namespace r1 {

ZeroedArray::ZeroedArray(std::size_t elements) : size_(elements) {
  if (elements == 0) return;
  void* memory = mmap(nullptr, elements * sizeof(float), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw DeviceError(message("no address space for an array of ", elements * sizeof(float), " bytes; use a smaller model or a machine with more memory"));
  data_ = static_cast<float*>(memory);
  (void)madvise(memory, elements * sizeof(float), MADV_HUGEPAGE);  // advice only
}

ZeroedArray::~ZeroedArray() {
  if (data_) munmap(data_, size_ * sizeof(float));
}

void ZeroedArray::use_small_pages() { r1::use_small_pages(data_, size_ * sizeof(float)); }

void ZeroedArray::clear(std::int64_t begin, std::int64_t end) { clear_pages(data_ + begin, static_cast<std::size_t>(end - begin) * sizeof(float)); }

std::size_t ZeroedArray::resident_bytes() const { return data_ ? r1::resident_bytes(data_, size_ * sizeof(float)) : 0; }

}  // namespace r1
