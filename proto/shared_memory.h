// Memory that another process of this machine and user can map: an anonymous file (memfd), named by process and descriptor, that cannot shrink.
// Nothing is left behind when the process dies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

namespace r1 {

struct SharedName {
  std::int64_t process = 0;
  std::int32_t descriptor = -1;
};

class SharedMemory {
 public:
  // Null where the system has no such memory, or not enough of it.
  static std::unique_ptr<SharedMemory> make(std::size_t bytes);
  // Another process's, to be read. Null if there is none of that name and size that this process may open: another machine or
  // container, another user.
  static std::unique_ptr<SharedMemory> open(const SharedName& name, std::size_t bytes);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  std::byte* data() { return data_; }  // of open(): to be read alone
  std::size_t bytes() const { return bytes_; }
  SharedName name() const;             // of make()

 private:
  SharedMemory(int descriptor, std::byte* data, std::size_t bytes) : descriptor_(descriptor), data_(data), bytes_(bytes) {}
  int descriptor_;
  std::byte* data_;
  std::size_t bytes_;
};

}  // namespace r1
