// Files that are either complete or not there: temporary name, fsync, rename. Every failure is an IoError that names
// the path, the cause and a remedy. Paths may be relative. Functions are thread-safe; objects belong to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace r1 {

std::string read_file(const std::filesystem::path& path);
// Creates missing parents too.
void make_directories(const std::filesystem::path& path);
// After return the new content survives a power cut; before, the old file is untouched. The folder must exist.
void write_file_atomic(const std::filesystem::path& path, std::string_view content);
// Points `link` at `target` (relative to the link's folder, as in ln -s) in one step; replaces an older link.
void replace_symlink(const std::filesystem::path& link, const std::filesystem::path& target);
// Makes creations, renames and removals in this folder durable.
void sync_directory(const std::filesystem::path& dir);
// Bytes that this user may still write to the file system of `path` (which need not exist yet).
std::uint64_t free_bytes(const std::filesystem::path& path);
// Deletes what AtomicFile and AtomicDirectory of dead processes left in `dir` (names with ".tmp-"). Call it only while
// nobody else writes there. Returns how many.
int remove_temporaries(const std::filesystem::path& dir);

// An open file descriptor with checked operations.
class File {
 public:
  enum class Mode { kRead, kCreateNew, kAppend };
  File(const std::filesystem::path& path, Mode mode);
  ~File();
  File(File&& other) noexcept;
  File& operator=(File&&) = delete;

  // A write that failed leaves a part of its bytes: every later one fails too, until truncate() has cut them off.
  void write(std::string_view bytes);
  void sync();                       // fsync
  void truncate(std::uint64_t size);
  std::uint64_t size() const;
  void close();                      // reports errors; the destructor cannot
  int descriptor() const { return fd_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int fd_ = -1;
  int torn_ = 0;  // the error of the write that failed
};

// A file under construction beside its target. Without commit() it vanishes.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path target);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  void write(std::string_view bytes);  // buffered
  void commit();                       // sync, rename, sync the folder

 private:
  void flush();
  std::filesystem::path target_;
  File file_;
  std::string buffer_;
  bool done_ = false;
};

// A folder under construction. Write any files below path(); commit() syncs them all and renames the folder to its
// target, replacing an older folder of that name. Without commit() it vanishes.
class AtomicDirectory {
 public:
  explicit AtomicDirectory(std::filesystem::path target);
  ~AtomicDirectory();
  AtomicDirectory(const AtomicDirectory&) = delete;
  AtomicDirectory& operator=(const AtomicDirectory&) = delete;
  const std::filesystem::path& path() const { return temporary_; }
  void commit();

 private:
  std::filesystem::path target_, temporary_;
  bool done_ = false;
};

// For tests: asked before every operation above that changes the disk. A non-zero return is the errno with which the
// operation fails (a write first writes half of its bytes, as a full disk does). Empty = off. The hook may also end the
// process, to test what a crash leaves; kSkipSync leaves a sync out (success), so that tests of many crashes are fast.
// Set it while no other thread uses files.
inline constexpr int kSkipSync = -1;
enum class FileOp { kCreate, kWrite, kSync, kRename, kTruncate };
using FileFaultHook = std::function<int(FileOp, const std::filesystem::path&)>;
void set_file_fault_hook(FileFaultHook hook);

}  // namespace r1
