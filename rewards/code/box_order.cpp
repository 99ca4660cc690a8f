#include "rewards/code/box_order.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "core/error.h"
#include "rewards/code/box_child.h"
#include "rewards/code/box_internal.h"
#include "rewards/code/seccomp_filter.h"

namespace r1::code {
namespace {

constexpr std::size_t kMostArguments = 250;

class Block {
 public:
  Block() : bytes_(sizeof(BoxOrder), '\0') {}
  std::uint64_t add(const void* data, std::size_t size) {
    bytes_.resize((bytes_.size() + 15) / 16 * 16);
    const std::uint64_t at = bytes_.size();
    bytes_.append(static_cast<const char*>(data), size);
    return at;
  }
  std::uint64_t add(const std::string& text) { return add(text.c_str(), text.size() + 1); }
  std::uint64_t add(const std::vector<std::string>& texts) {
    std::string all;
    for (const std::string& t : texts) {
      R1_CHECK(t.find('\0') == std::string::npos, "a zero byte in an argument");
      all.append(t.c_str(), t.size() + 1);
    }
    return add(all.data(), all.size());
  }
  std::string& with_header(const BoxOrder& order) {
    std::memcpy(bytes_.data(), &order, sizeof order);
    return bytes_;
  }

 private:
  std::string bytes_;
};

}  // namespace

std::vector<std::string> box_environment() {
  return {"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/w/box", "TMPDIR=/w/tmp", "LANG=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1",
          "PYTHONHASHSEED=0", "OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1", "UV_USE_IO_URING=0",
          // A runtime that starts a thread for each of a hundred cores would meet the limit of processes before the program.
          "GOMAXPROCS=2", "GO111MODULE=off"};
}

Fd write_order(const Job& job, int landlock_abi, bool warm) {
  R1_CHECK(!job.argv.empty() && job.argv.size() < kMostArguments, job.argv.size(), " arguments");
  Block block;
  BoxOrder order{};
  order.tmpfs_options = block.add(message("size=", job.limits.file_mb, "m,nr_inodes=20000,mode=755"));
  order.fetch = job.fetch.empty() ? 0 : block.add(job.fetch);
  order.argv = block.add(job.argv);
  order.argc = job.argv.size();
  const std::vector<std::string> environment = box_environment();
  order.envp = block.add(environment);
  order.envc = environment.size();
  std::vector<BoxOrder::File> files;
  for (const BoxFile& f : job.files) {
    R1_CHECK(!f.name.empty() && f.name.find('/') == std::string::npos && f.name != "..", "file name ", f.name);
    files.push_back({block.add(f.name), block.add(f.bytes.c_str(), f.bytes.size() + 1), f.bytes.size(),
                     f.link ? kLinkFile : f.executable ? kExecutableFile : kPlainFile});
  }
  order.folders = block.add(job.folders);
  order.folder_count = job.folders.size();
  order.files = block.add(files.data(), files.size() * sizeof(BoxOrder::File));
  order.file_count = files.size();
  const std::vector<sock_filter>& filter = program_filter();
  order.filter = block.add(filter.data(), filter.size() * sizeof(sock_filter));
  order.filter_count = filter.size();
  order.cpu_s = job.limits.cpu_ms / 1000 + 1;
  order.file_bytes = job.limits.file_mb << 20;
  order.processes = job.limits.processes;
  order.landlock_abi = landlock_abi;
  order.warm = warm;

  const std::string& bytes = block.with_header(order);
  Fd fd(memfd_create("r1-order", MFD_CLOEXEC));
  for (std::size_t at = 0; fd && at < bytes.size();) {
    const ssize_t n = ::write(fd.get(), bytes.data() + at, bytes.size() - at);
    if (n <= 0) return Fd();
    at += static_cast<std::size_t>(n);
  }
  return fd;
}

}  // namespace r1::code
