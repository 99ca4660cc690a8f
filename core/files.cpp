#include "core/files.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core/error.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

FileFaultHook& fault_hook() {
  static FileFaultHook hook;
  return hook;
}

int injected(FileOp op, const fs::path& path) { return fault_hook() ? fault_hook()(op, path) : 0; }

const char* remedy(int code) {
  switch (code) {
    case ENOSPC: return "; free some space on that disk or choose another folder";
    case EDQUOT: return "; your disk quota is used up: delete something or choose another folder";
    case EACCES: case EPERM: return "; you lack the permission: choose another folder or change its owner or mode";
    case EROFS: return "; that file system is read-only: choose another folder";
    case ENOENT: return "; check the spelling and that the folder exists";
    case ENOTDIR: return "; a part of that path is a file, not a folder";
    case EISDIR: return "; that is a folder, give a file";
    case EMFILE: case ENFILE: return "; raise the limit on open files (ulimit -n)";
    case EFBIG: return "; raise the limit on file size (ulimit -f)";
    default: return "";
  }
}

[[noreturn]] void fail(const char* what, const fs::path& path, int code) {
  throw IoError(message("cannot ", what, " ", path.string(), ": ", std::strerror(code), remedy(code)));
}

fs::path folder_of(const fs::path& path) {
  return path.parent_path().empty() ? fs::path(".") : path.parent_path();
}

// Unique among the threads of this process and among processes; see remove_temporaries.
fs::path temporary_for(const fs::path& target) {
  static std::atomic<unsigned> counter{0};
  const fs::path name = target.has_filename() ? target.filename() : target.parent_path().filename();
  return folder_of(target.has_filename() ? target : target.parent_path()) /
         message(name.string(), ".tmp-", getpid(), "-", counter++);
}

void rename_checked(const fs::path& from, const fs::path& to) {
  if (const int code = injected(FileOp::kRename, to)) fail("rename to", to, code);
  if (::rename(from.c_str(), to.c_str()) != 0) fail("rename to", to, errno);
}

int open_flags(File::Mode mode) {
  switch (mode) {
    case File::Mode::kRead: return O_RDONLY;
    case File::Mode::kCreateNew: return O_WRONLY | O_CREAT | O_EXCL;
    case File::Mode::kAppend: return O_WRONLY | O_CREAT | O_APPEND;
  }
  return O_RDONLY;
}

void sync_path(const fs::path& path) {
  File file(path, File::Mode::kRead);
  file.sync();
}

void sync_tree(const fs::path& dir) {
  std::vector<fs::path> folders{dir};
  try {
    for (const auto& entry : fs::recursive_directory_iterator(dir)) {
      if (entry.is_symlink()) continue;
      if (entry.is_directory()) folders.push_back(entry.path());
      if (entry.is_regular_file()) sync_path(entry.path());
    }
  } catch (const fs::filesystem_error& e) {
    fail("list", e.path1(), e.code().value());
  }
  std::for_each(folders.rbegin(), folders.rend(), sync_path);
}

}  // namespace

void set_file_fault_hook(FileFaultHook hook) { fault_hook() = std::move(hook); }

File::File(const fs::path& path, Mode mode) : path_(path) {
  const char* what = mode == Mode::kRead ? "open" : "create";
  if (mode != Mode::kRead) {
    if (const int code = injected(FileOp::kCreate, path)) fail(what, path, code);
  }
  do fd_ = ::open(path.c_str(), open_flags(mode) | O_CLOEXEC, 0666);
  while (fd_ < 0 && errno == EINTR);
  if (fd_ < 0) fail(what, path, errno);
}

File::File(File&& other) noexcept : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), torn_(other.torn_) {}

File::~File() {
  if (fd_ >= 0) ::close(fd_);
}

void File::write(std::string_view bytes) {
  if (torn_ != 0) fail("write on after a failed write to", path_, torn_);
  const int code = injected(FileOp::kWrite, path_);
  if (code != 0) bytes = bytes.substr(0, bytes.size() / 2);
  while (!bytes.empty()) {
    const ssize_t done = ::write(fd_, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail("write to", path_, torn_ = errno);
    bytes.remove_prefix(static_cast<std::size_t>(done));
  }
  if (code != 0) fail("write to", path_, torn_ = code);
}

void File::sync() {
  const int code = injected(FileOp::kSync, path_);
  if (code == kSkipSync) return;
  if (code != 0) fail("write to the disk", path_, code);
  // Some file systems refuse to sync what cannot be synced (EINVAL); there is nothing more to do there.
  if (::fsync(fd_) != 0 && errno != EINVAL) fail("write to the disk", path_, errno);
}

void File::truncate(std::uint64_t size) {
  if (const int code = injected(FileOp::kTruncate, path_)) fail("shorten", path_, code);
  if (::ftruncate(fd_, static_cast<off_t>(size)) != 0) fail("shorten", path_, errno);
  torn_ = 0;
}

std::uint64_t File::size() const {
  struct stat info{};
  if (::fstat(fd_, &info) != 0) fail("read the size of", path_, errno);
  return static_cast<std::uint64_t>(info.st_size);
}

void File::close() {
  // NFS and quotas report a full disk here.
  if (fd_ >= 0 && ::close(std::exchange(fd_, -1)) != 0 && errno != EINTR) fail("write to", path_, errno);
}

std::string read_file(const fs::path& path) {
  File file(path, File::Mode::kRead);
  std::string content;
  struct stat info{};
  if (::fstat(file.descriptor(), &info) != 0) fail("read", path, errno);
  if (S_ISDIR(info.st_mode)) fail("read", path, EISDIR);
  content.reserve(static_cast<std::size_t>(info.st_size) + 1);
  // Read until the end: the size is 0 for pipes and for files of /proc.
  for (std::vector<char> block(1 << 16);;) {
    const ssize_t got = ::read(file.descriptor(), block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("read", path, errno);
    if (got == 0) return content;
    content.append(block.data(), static_cast<std::size_t>(got));
  }
}

void make_directories(const fs::path& path) {
  if (const int code = injected(FileOp::kCreate, path)) fail("create", path, code);
  std::error_code error;
  fs::create_directories(path, error);
  if (error) fail("create", path, error.value());
  if (!fs::is_directory(path)) fail("create", path, ENOTDIR);
}

void write_file_atomic(const fs::path& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

void replace_symlink(const fs::path& link, const fs::path& target) {
  const fs::path temporary = temporary_for(link);
  if (const int code = injected(FileOp::kCreate, link)) fail("create", link, code);
  if (::symlink(target.c_str(), temporary.c_str()) != 0) fail("create", link, errno);
  try {
    rename_checked(temporary, link);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  sync_directory(folder_of(link));
}

void sync_directory(const fs::path& dir) { sync_path(dir); }

std::uint64_t free_bytes(const fs::path& path) {
  fs::path existing = fs::absolute(path);
  std::error_code none;
  while (!fs::exists(existing, none) && existing.has_relative_path()) existing = existing.parent_path();
  struct statvfs info{};
  if (::statvfs(existing.c_str(), &info) != 0) fail("ask for the free space of", existing, errno);
  return static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
}

int remove_temporaries(const fs::path& dir) {
  std::error_code none;
  std::vector<fs::path> stale;
  for (const auto& entry : fs::directory_iterator(dir, none)) {
    if (entry.path().filename().string().find(".tmp-") != std::string::npos) stale.push_back(entry.path());
  }
  for (const auto& path : stale) {
    std::error_code error;
    fs::remove_all(path, error);
    if (error) fail("delete", path, error.value());
  }
  return static_cast<int>(stale.size());
}

AtomicFile::AtomicFile(fs::path target) : target_(std::move(target)), file_(temporary_for(target_), File::Mode::kCreateNew) {}

AtomicFile::~AtomicFile() {
  if (!done_) ::unlink(file_.path().c_str());
}

void AtomicFile::write(std::string_view bytes) {
  constexpr std::size_t kBuffer = 1 << 18;
  if (buffer_.size() + bytes.size() > kBuffer) flush();
  if (bytes.size() > kBuffer) {
    file_.write(bytes);
  } else {
    buffer_ += bytes;
  }
}

void AtomicFile::flush() {
  if (!buffer_.empty()) file_.write(buffer_);
  buffer_.clear();
}

void AtomicFile::commit() {
  R1_CHECK(!done_, "commit() called twice for ", target_.string());
  flush();
  file_.sync();
  file_.close();
  rename_checked(file_.path(), target_);
  done_ = true;
  sync_directory(folder_of(target_));
}

AtomicDirectory::AtomicDirectory(fs::path target) : target_(std::move(target)), temporary_(temporary_for(target_)) {
  make_directories(temporary_);
}

AtomicDirectory::~AtomicDirectory() {
  std::error_code ignored;
  if (!done_) fs::remove_all(temporary_, ignored);
}

void AtomicDirectory::commit() {
  R1_CHECK(!done_, "commit() called twice for ", target_.string());
  sync_tree(temporary_);
  if (const int code = injected(FileOp::kRename, target_)) fail("rename to", target_, code);
  std::error_code none;
  if (fs::exists(target_, none)) {
    // Exchange, so that there is no moment without a complete folder of that name.
    if (::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, target_.c_str(), RENAME_EXCHANGE) != 0) {
      // File systems without exchange: move the old one away first.
      const fs::path old = temporary_for(target_);
      rename_checked(target_, old);
      try {
        rename_checked(temporary_, target_);
      } catch (...) {
        ::rename(old.c_str(), target_.c_str());
        throw;
      }
      fs::remove_all(old, none);
    } else {
      fs::remove_all(temporary_, none);
    }
  } else {
    rename_checked(temporary_, target_);
  }
  done_ = true;
  sync_directory(folder_of(target_));
}

}  // namespace r1
