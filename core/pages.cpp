#include "core/pages.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

#include "core/error.h"

namespace r1 {
namespace {

std::uintptr_t page() {
  static const auto size = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  return size;
}

struct Pages {
  std::uintptr_t begin, end;
  void* data() const { return reinterpret_cast<void*>(begin); }
  std::size_t bytes() const { return end > begin ? end - begin : 0; }
};
Pages inside(const void* data, std::size_t bytes) {
  const auto from = reinterpret_cast<std::uintptr_t>(data);
  return {(from + page() - 1) / page() * page(), (from + bytes) / page() * page()};
}
Pages around(const void* data, std::size_t bytes) {
  const auto from = reinterpret_cast<std::uintptr_t>(data);
  return {from / page() * page(), (from + bytes + page() - 1) / page() * page()};
}

}  // namespace

void clear_pages(void* data, std::size_t bytes) {
  const Pages p = inside(data, bytes);
  if (p.bytes() == 0) {
    std::memset(data, 0, bytes);
    return;
  }
  const auto from = reinterpret_cast<std::uintptr_t>(data);
  std::memset(data, 0, p.begin - from);
  std::memset(reinterpret_cast<void*>(p.end), 0, from + bytes - p.end);
  R1_CHECK(madvise(p.data(), p.bytes(), MADV_DONTNEED) == 0, "madvise of ", p.bytes(), " bytes");
}

void use_small_pages(void* data, std::size_t bytes) {
  const Pages p = around(data, bytes);
  if (bytes > 0) (void)madvise(p.data(), p.bytes(), MADV_NOHUGEPAGE);
}

std::size_t resident_bytes(const void* data, std::size_t bytes) {
  if (bytes == 0) return 0;
  const Pages p = around(data, bytes);
  std::vector<unsigned char> there(p.bytes() / page());
  R1_CHECK(mincore(p.data(), p.bytes(), there.data()) == 0, "mincore of ", p.bytes(), " bytes");
  return static_cast<std::size_t>(std::count_if(there.begin(), there.end(), [](unsigned char c) { return c & 1; })) * page();
}

}  // namespace r1
