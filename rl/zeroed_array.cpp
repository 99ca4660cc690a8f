#include "rl/zeroed_array.h"

#include <algorithm>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

#include "core/error.h"

namespace r1 {
namespace {

std::size_t page() {
  static const auto size = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

}  // namespace

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

void ZeroedArray::use_small_pages() {
  if (data_) (void)madvise(data_, size_ * sizeof(float), MADV_NOHUGEPAGE);
}

void ZeroedArray::clear(std::int64_t begin, std::int64_t end) {
  const std::int64_t per_page = static_cast<std::int64_t>(page() / sizeof(float)), last = static_cast<std::int64_t>(size_);
  const std::int64_t from = std::min((begin + per_page - 1) / per_page * per_page, end);
  const std::int64_t to = end == last ? end : std::max(from, end / per_page * per_page);
  std::fill(data_ + begin, data_ + from, 0.f);
  std::fill(data_ + to, data_ + end, 0.f);
  if (to > from) R1_CHECK(madvise(data_ + from, static_cast<std::size_t>(to - from) * sizeof(float), MADV_DONTNEED) == 0, "madvise of ", to - from, " elements");
}

std::size_t ZeroedArray::resident_bytes() const {
  if (!data_) return 0;
  const std::size_t pages = (size_ * sizeof(float) + page() - 1) / page();
  std::vector<unsigned char> there(pages);
  R1_CHECK(mincore(data_, size_ * sizeof(float), there.data()) == 0, "mincore");
  return static_cast<std::size_t>(std::count_if(there.begin(), there.end(), [](unsigned char c) { return c & 1; })) * page();
}

}  // namespace r1
