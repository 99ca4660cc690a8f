#include "model/mapped_file.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <sys/mman.h>
#include <sys/stat.h>

#include "core/error.h"
#include "core/files.h"

namespace r1 {

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path) {
  return std::shared_ptr<const MappedFile>(new MappedFile(path));
}

MappedFile::MappedFile(std::filesystem::path path) : path_(std::move(path)) {
  try {
    const File file(path_, File::Mode::kRead);
    struct stat info{};
    if (::fstat(file.descriptor(), &info) != 0 || !S_ISREG(info.st_mode))
      throw CheckpointError(message(path_.string(), ": not a regular file; give the path of a model file"));
    size_ = static_cast<std::size_t>(info.st_size);
    if (size_ == 0) return;
    void* memory = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.descriptor(), 0);
    if (memory == MAP_FAILED)
      throw CheckpointError(message("cannot map ", path_.string(), " (", size_, " bytes) into memory: ", std::strerror(errno)));
    data_ = static_cast<const std::byte*>(memory);
  } catch (const IoError& e) {
    throw CheckpointError(e.what());  // for the caller a model file that cannot be opened is a model file that is not there
  }
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace r1
