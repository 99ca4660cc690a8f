#include "proto/shared_memory.h"

#include <cerrno>
#include <string>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace r1 {

std::unique_ptr<SharedMemory> SharedMemory::make(std::size_t bytes) {
  const int descriptor = memfd_create("r1-weights", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (descriptor < 0) return nullptr;
  void* data = MAP_FAILED;
  // Taken now: a page that is missing later would be a signal.
  if (posix_fallocate(descriptor, 0, static_cast<off_t>(bytes)) == 0 && fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0)
    data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (data == MAP_FAILED) {
    close(descriptor);
    return nullptr;
  }
  return std::unique_ptr<SharedMemory>(new SharedMemory(descriptor, static_cast<std::byte*>(data), bytes));
}

std::unique_ptr<SharedMemory> SharedMemory::open(const SharedName& name, std::size_t bytes) {
  if (name.process <= 0 || name.descriptor < 0 || bytes == 0) return nullptr;
  const std::string path = "/proc/" + std::to_string(name.process) + "/fd/" + std::to_string(name.descriptor);
  char target[64] = {};
  if (readlink(path.c_str(), target, sizeof target - 1) < 0 || std::string(target).rfind("/memfd:r1-weights", 0) != 0) return nullptr;
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (descriptor < 0) return nullptr;
  struct stat status {};
  // Only sealed anonymous memory: whatever else has that number is not touched, and what is mapped stays.
  const int seals = fcntl(descriptor, F_GET_SEALS);
  void* data = MAP_FAILED;
  if (seals >= 0 && (seals & F_SEAL_SHRINK) != 0 && fstat(descriptor, &status) == 0 && status.st_size == static_cast<off_t>(bytes))
    data = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, descriptor, 0);
  if (data == MAP_FAILED) {
    close(descriptor);
    return nullptr;
  }
  return std::unique_ptr<SharedMemory>(new SharedMemory(descriptor, static_cast<std::byte*>(data), bytes));
}

SharedMemory::~SharedMemory() {
  munmap(data_, bytes_);
  close(descriptor_);
}

SharedName SharedMemory::name() const { return {getpid(), descriptor_}; }

}  // namespace r1
